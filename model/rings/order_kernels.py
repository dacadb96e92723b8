"""The compiled part of the space of orderings: one round and its repetition, for a word of P bits.

Bit r of an ordering is set where rank r sends first; bit r of a set of edges is the edge from rank r to r + 1.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint32]
Counts = NDArray[np.int64]


@numba.njit(cache=True, inline="always")
def _makespan(word: np.uint32, ranks: int) -> int:
    """The run itself: in each step every transfer whose two ranks have come to it."""
    full = np.uint32((1 << ranks) - 1)
    top = np.uint32(ranks - 1)
    one = np.uint32(1)
    receives = full & ~word
    ready = (receives >> one) | ((receives & one) << top)  # bit r: rank r + 1 receives first
    done = np.uint32(0)  # bit r: edge r is done
    steps = 0
    while done != full:
        sender = word | ((done << one) & full) | (done >> top)  # rank r is at its send: first, or after edge r - 1
        receiver = ready | (done >> one) | ((done & one) << top)  # rank r + 1 is at its receive
        reached = done | (sender & receiver)
        if reached == done:
            return 0
        done = reached
        steps += 1
    return steps


@numba.njit(cache=True, inline="always")
def period_of(word: np.uint32, ranks: int) -> tuple[int, int]:
    """(transfers, tokens) of a circuit of greatest ratio; 0 tokens where the ordering deadlocks.

    The graph is a cycle with arcs both ways, so its simple circuits are there and back between neighbours
    (at P = 2, by either rank), and once around in either direction. A rank that sends first has its token
    on the ascending arc, from edge r - 1 to edge r, any other on the descending arc.
    """
    ascending = 0
    for rank in range(ranks):
        ascending += int(word >> np.uint32(rank)) & 1
    transfers, tokens = 2, 1  # there and back
    for around in (ascending, ranks - ascending):
        if ranks * tokens > transfers * around:
            transfers, tokens = ranks, around
    return transfers, tokens


@numba.njit(cache=True, inline="always")
def _least_rotation(word: np.uint32, ranks: int) -> bool:
    """Whether no rotation of the word is a smaller number: true of one word in each class."""
    one, top = np.uint32(1), np.uint32(ranks - 1)
    turned = word
    for _ in range(ranks - 1):
        turned = (turned >> one) | ((turned & one) << top)
        if turned < word:
            return False
    return True


@numba.njit(cache=True, nogil=True)
def count_orderings(first: int, end: int, ranks: int) -> tuple[Counts, Counts]:
    """Orderings first to end - 1, counted by [makespan, transfers, tokens]: all of them, and one of each class.

    Each array has ranks + 1 cells a side: a makespan and a circuit have at most so many transfers.
    """
    every = np.zeros((ranks + 1, ranks + 1, ranks + 1), dtype=np.int64)
    classes = np.zeros_like(every)
    for number in range(first, end):
        word = np.uint32(number)
        steps = _makespan(word, ranks)
        transfers, tokens = period_of(word, ranks)
        every[steps, transfers, tokens] += 1
        if _least_rotation(word, ranks):
            classes[steps, transfers, tokens] += 1
    return every, classes


@numba.njit(cache=True, nogil=True)
def makespans_of(words: Bits, ranks: int) -> NDArray[np.intp]:
    """The steps of one round of each ordering, 0 where it deadlocks."""
    out = np.empty(words.shape, dtype=np.intp)
    for index in range(len(words)):
        out[index] = _makespan(words[index], ranks)
    return out
