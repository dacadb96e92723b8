"""When does the serving loop hang? Every pattern of idle and busy iterations, in the model (statement 8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from tqdm import tqdm

from model import check
from model.libraries import semantics
from model.orderings import ordering
from model.semantics import World
from model.serving import CONTROL, DATA, unroll

NAME = "patterns"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Verdicts on the serving loop under a blocking isend, for every pattern of which iterations carry a batch."""

    ranks: tuple[int, ...] = (2, 3, 4)
    depths: tuple[int, ...] = (0, 1, 2)
    """Async batch depths."""
    orderings: tuple[str, ...] = ("send-first", "parity", "last-sends-first")
    extra: int = 3
    """A pattern is so many iterations longer than there are ranks."""


SMOKE = Config(ranks=(2, 3), depths=(0, 1))


def run(config: Config) -> dict[str, Any]:
    """`points`: for each P, depth and ordering the patterns that deadlock, `1` for an iteration with a batch."""
    world: World = {CONTROL: semantics("gloo"), DATA: semantics("rendezvous")}
    sizes = product(config.ranks, config.depths, config.orderings)
    points = [(ranks, depth, ordering(name, ranks)) for ranks, depth, name in sizes]
    found = []
    for ranks, depth, policy in tqdm(points, desc=NAME, unit="point", delay=1):
        deadlocked = []
        for pattern in patterns(ranks + config.extra):
            present = [busy == "1" for busy in pattern]
            result = check(unroll(ranks=ranks, depth=depth, ordering=policy, present=present), world)
            if result.verdict != "ok":
                deadlocked.append(pattern)
        found.append(
            {
                "ranks": ranks,
                "depth": depth,
                "ordering": policy.name,
                "iterations": ranks + config.extra,
                "deadlocked": deadlocked,
            }
        )
    return {"points": found}


def patterns(iterations: int) -> list[str]:
    """Every pattern of idle and busy iterations."""
    return ["".join(bits) for bits in product("01", repeat=iterations)]


def deadlocks_iff_full(point: Mapping[str, Any]) -> bool:
    """Whether exactly those patterns deadlock in which P consecutive iterations carry a batch."""
    full = [pattern for pattern in patterns(point["iterations"]) if "1" * point["ranks"] in pattern]
    return bool(point["deadlocked"] == full)
