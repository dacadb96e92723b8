"""All 2^P orderings of one ring step in the model: how many deadlock, how long the others take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from model.rings.orderings import NAMED

NAME = "orderspace"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Deadlocks and makespans of all orderings of one ring step under rendezvous, in the model."""

    ranks: tuple[int, ...] = tuple(range(2, 19))


SMOKE = Config(ranks=tuple(range(2, 11)))


def run(config: Config) -> dict[str, Any]:
    """`spaces`: for each P the counts, and for each named ordering its vector and makespan (0: deadlock)."""
    from tqdm import tqdm

    from model.rings.order_space import space

    spaces = []
    for ranks in tqdm(config.ranks, desc=NAME, unit="P", delay=1):
        vectors = {name: policy.vector(ranks) for name, policy in NAMED.items()}
        named = {name: {"vector": vector, "makespan": makespan(vector)} for name, vector in vectors.items()}
        spaces.append({**space(ranks).to_json(), "named": named})
    return {"spaces": spaces}


def makespan(vector: str) -> int:
    """Steps of one round of the ordering `vector`, 0 where it deadlocks."""
    import numpy as np

    from model.rings.order_space import makespans

    word = sum(1 << rank for rank, letter in enumerate(vector) if letter == "S")
    return int(makespans(np.array([word], dtype=np.uint32), len(vector))[0])
