"""Hang matrix on MPICH, where the eager limit shows as a size, and the search for that limit."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from experiments.hang_matrix import matrix
from experiments.lab.errors import ProbesFailed
from model.semantics.libraries import semantics

if TYPE_CHECKING:
    from experiments.lab.hang_detector import Verdict
    from experiments.lab.harness import Harness

NAME = "mpich-matrix"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(matrix.Config):
    """Hang matrix of ring orderings on MPICH, against the model; and MPICH's eager limit."""

    sizes: tuple[int, ...] = (1, 8112, 8113, 2**20)
    """Bytes of a message."""
    limit_between: tuple[int, int] = (1, 64 * 2**10)
    """Bytes between which the eager limit is searched."""
    window_s: float = 0.5
    """How long no rank may move before a hang is considered."""


SMOKE = Config(ranks=(2, 3), orderings=("send-first", "parity"), limit_between=(8110, 8116))


def run(config: Config) -> dict[str, Any]:
    """The cells, and the eager limit as declared in the model and as measured."""
    from experiments.lab.mpich import MpichLauncher

    mpich = semantics("mpich")
    with config.harness(MpichLauncher()) as harness:
        cells = matrix.measure(config, harness, mpich, name=NAME)
        limit, tried = search_limit(harness, *config.limit_between)
    return {
        "semantics": asdict(mpich),
        "eager_limit": {"declared": mpich.eager_limit, "measured": limit, "tried": tried},
        "cells": cells,
    }


def search_limit(harness: Harness, low: int, high: int) -> tuple[int, list[tuple[int, Verdict]]]:
    """The largest size at which send-first on two ranks passes, and every size that was tried, in order.

    One group tries ascending sizes until one hangs, the next group those between the last two, and so on: each
    hang narrows the bounds sixteenfold. Raises ProbesFailed where a probe is unclear, or where the limit does
    not lie between `low` and `high`.
    """
    from tqdm import tqdm

    if not 1 <= low < high:
        raise ValueError(f"limit_between is {low} to {high}; give two sizes, the smaller first")
    tried: list[tuple[int, Verdict]] = []
    passes, hangs = low - 1, high + 1
    with tqdm(desc="eager limit", unit="probe") as bar:
        while hangs - passes > 1:
            step = max(1, (hangs - passes) // 16)
            cells = [
                matrix.Cell(ordering="send-first", ranks=2, nbytes=nbytes, style="send", rounds=1)
                for nbytes in range(passes + step, hangs, step)
            ]
            with closing(harness.measure(cells)) as probes:
                for cell, sample in probes:
                    bar.update()
                    tried.append((cell.nbytes, sample.verdict))
                    if sample.verdict == "unclear":
                        raise ProbesFailed(f"the probe of {cell.nbytes} bytes is unclear: {sample}")
                    if sample.verdict == "hang":
                        hangs = cell.nbytes
                        break
                    passes = cell.nbytes
    if passes < low or hangs > high:
        raise ProbesFailed(f"every size from {low} to {high} bytes {'hangs' if passes < low else 'passes'}; try others")
    return passes, tried
