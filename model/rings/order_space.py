"""All 2^P orderings of a ring step at once, under rendezvous: deadlock, one round, period; and up to rotation.

An ordering is a word of P bits; bit r is set where rank r sends first. Edge r is the transfer from rank r
to rank r + 1. Transfers are the vertices of the event graph of the repeated step and every rank gives two
arcs, one for each way from one of its transfers to its next: without a token inside a round, with one
token from a round to the next.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.display.shown import Shown
from model.display.text import table
from model.program.numbers import check_whole

MAX_RANKS = 28
_CHUNK_BITS = 18  # orderings counted by one call: a fraction of a second, so that a bar moves


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many orderings, and what they do with unit transfers.

    makespan: number of orderings by their steps of one round, for those that finish.
    period: number of orderings by their steps per round when repeated for ever, for those that finish.
    """

    orderings: int
    deadlocks: int
    makespan: dict[int, int]
    period: dict[Fraction, int]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; makespans and periods become text keys, such as `3` and `24/11`."""
        return {
            "orderings": self.orderings,
            "deadlocks": self.deadlocks,
            "makespan": {str(steps): count for steps, count in self.makespan.items()},
            "period": {str(steps): count for steps, count in self.period.items()},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Space(Shown):
    """All orderings of `ranks` ranks, and one of each class of orderings that are rotations of each other."""

    ranks: int
    every: Tally
    rotations: Tally

    @property
    def orderings(self) -> int:
        return self.every.orderings

    @property
    def deadlocks(self) -> int:
        return self.every.deadlocks

    @property
    def makespan(self) -> dict[int, int]:
        return self.every.makespan

    @property
    def period(self) -> dict[Fraction, int]:
        return self.every.period

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types: the tally of all orderings, and under `rotations` that of the classes."""
        return {"ranks": self.ranks, **self.every.to_json(), "rotations": self.rotations.to_json()}

    def _lines(self) -> Iterator[str]:
        classes = self.rotations.orderings
        yield f"{self.orderings} orderings of {self.ranks} ranks under rendezvous, {classes} up to rotation"
        yield "those that deadlock: every rank sends first, and every rank receives first"
        yield ""
        for title, rows in self._tallies():
            yield table([title, "orderings", "up to rotation"], rows)
            yield ""

    def _tallies(self) -> Iterator[tuple[str, list[tuple[str, int, int]]]]:
        dead = ("deadlock", self.deadlocks, self.rotations.deadlocks)
        once = [(f"{steps} steps", count, self.rotations.makespan[steps]) for steps, count in self.makespan.items()]
        rounds = [(f"{steps} steps", count, self.rotations.period[steps]) for steps, count in self.period.items()]
        yield "one round", [dead, *once]
        yield "repeated, per round", [dead, *rounds]

    def _table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        rows = [(title, *row) for title, rows in self._tallies() for row in rows]
        return ("of", "steps", "orderings", "up to rotation"), rows


def space(ranks: int, *, progress: Callable[[int], None] | None = None) -> Space:
    """Deadlocks, one-round makespans and periods of all 2^ranks orderings (statements 3, 4 and 5).

    `progress` is told how many orderings are finished. Raises ValueError unless 2 <= ranks <= 28.
    """
    check_whole("ranks", ranks)
    if not 2 <= ranks <= MAX_RANKS:
        raise ValueError(f"ranks is {ranks}; give 2 to {MAX_RANKS}: the space has 2^ranks orderings")
    from model.rings.order_kernels import count_orderings  # numba is slow to import

    chunk = 1 << min(ranks, _CHUNK_BITS)
    every = np.zeros((ranks + 1,) * 3, dtype=np.int64)
    classes = np.zeros_like(every)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool:  # the kernel holds no lock of the interpreter
        jobs = pool.map(lambda first: count_orderings(first, first + chunk, ranks), range(0, 1 << ranks, chunk))
        for done, (counted, canonical) in enumerate(jobs, start=1):
            every += counted
            classes += canonical
            if progress is not None:
                progress(done * chunk)
    return Space(ranks=ranks, every=_tally(every), rotations=_tally(classes))


def makespans(orderings: NDArray[np.uint32], ranks: int) -> NDArray[np.intp]:
    """Steps of one round for each ordering, 0 where it deadlocks.

    Every transfer takes one step and starts as soon as both its ranks have come to it.
    """
    from model.rings.order_kernels import makespans_of

    steps: NDArray[np.intp] = makespans_of(orderings, ranks)
    return steps


def period(ordering: int, ranks: int) -> Fraction | None:
    """Steps per round of one ordering repeated for ever, None where it deadlocks."""
    from model.rings.order_kernels import period_of

    transfers, tokens = period_of(np.uint32(ordering), ranks)
    return Fraction(transfers, tokens) if tokens else None


def _tally(counts: NDArray[np.int64]) -> Tally:
    """`counts[steps, transfers, tokens]`: orderings by their makespan and their critical circuit."""
    dead = counts[0, :, :].sum()
    assert dead == counts[:, :, 0].sum() == counts[0, :, 0].sum(), "no run ends iff a circuit carries no token"
    makespan, periods = Counter[int](), Counter[Fraction]()
    for steps, transfers, tokens in np.argwhere(counts).tolist():
        if tokens:
            makespan[steps] += int(counts[steps, transfers, tokens])
            periods[Fraction(transfers, tokens)] += int(counts[steps, transfers, tokens])
    return Tally(
        orderings=int(counts.sum()),
        deadlocks=int(dead),
        makespan=dict(sorted(makespan.items())),
        period=dict(sorted(periods.items())),
    )
