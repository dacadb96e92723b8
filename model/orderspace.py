"""All 2^P orderings of one ring step at once: which deadlock under rendezvous, and how long the others take.

An ordering is a word of P bits; bit r is set where rank r sends first. Edge r is the transfer from rank r
to rank r + 1. Every array holds one word per ordering, so one numpy operation advances them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]

MOST_RANKS = 28
_CHUNK_BITS = 20  # orderings advanced together: a few arrays of 4 MiB stay in the cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """What all orderings of `ranks` ranks do in one round of unit transfers.

    makespan: number of orderings by their number of steps, for those that finish.
    """

    ranks: int
    orderings: int
    deadlocks: int
    makespan: dict[int, int]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; the makespans become text keys."""
        return {
            "ranks": self.ranks,
            "orderings": self.orderings,
            "deadlocks": self.deadlocks,
            "makespan": {str(steps): count for steps, count in self.makespan.items()},
        }


def space(ranks: int, *, progress: Callable[[int], None] | None = None) -> Space:
    """Deadlocks and one-round makespans of all 2^ranks orderings (statements 3 and 4).

    `progress` is told how many orderings are finished. Raises ValueError unless 2 <= ranks <= 28.
    """
    if not 2 <= ranks <= MOST_RANKS:
        raise ValueError(f"ranks is {ranks}; give 2 to {MOST_RANKS}: the space has 2^ranks orderings")
    chunk = 1 << min(ranks, _CHUNK_BITS)
    counts = np.zeros(ranks + 1, dtype=np.int64)  # index 0: deadlock
    for first in range(0, 1 << ranks, chunk):
        counts += np.bincount(makespans(np.arange(first, first + chunk, dtype=np.uint32), ranks), minlength=ranks + 1)
        if progress is not None:
            progress(first + chunk)
    return Space(
        ranks=ranks,
        orderings=1 << ranks,
        deadlocks=int(counts[0]),
        makespan={steps: int(count) for steps, count in enumerate(counts) if steps and count},
    )


def makespans(orderings: Words, ranks: int) -> NDArray[np.intp]:
    """Steps of one round for each ordering, 0 where it deadlocks.

    Every transfer takes one step and starts as soon as both its ranks have come to it.
    """
    full = np.uint32((1 << ranks) - 1)
    sends_first = orderings
    receiver_ready = _up(full & ~orderings, ranks)  # bit r: rank r + 1 receives first
    finished = np.zeros_like(orderings)  # bit r: edge r is done
    steps = np.zeros(orderings.shape, dtype=np.intp)
    for step in range(1, ranks + 1):
        sender = sends_first | _down(finished, ranks)  # rank r is at its send: first, or after edge r - 1
        receiver = receiver_ready | _up(finished, ranks)  # rank r + 1 is at its receive: first, or after edge r + 1
        reached = finished | (sender & receiver)
        steps[(reached == full) & (finished != full)] = step
        if np.array_equal(reached, finished):
            break
        finished = reached
    return steps


def _up(words: Words, ranks: int) -> Words:
    """Bit r of the result is bit r + 1 of the word."""
    return (words >> np.uint32(1)) | ((words & np.uint32(1)) << np.uint32(ranks - 1))


def _down(words: Words, ranks: int) -> Words:
    """Bit r of the result is bit r - 1 of the word."""
    full = np.uint32((1 << ranks) - 1)
    return ((words << np.uint32(1)) & full) | (words >> np.uint32(ranks - 1))
