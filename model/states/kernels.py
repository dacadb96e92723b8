"""The inner loops of `packed_bfs`, compiled by numba; compiled code is cached on disk.

Shapes: frontier (states, words), table (slots, words), key and trial (words,), positions and scratch (threads,); by
position of all threads numbered through: starts (count + 1,), meets and after (count, 2); offsets (threads,), where
those of a thread begin; by precondition: peers and needed, a thread and the position that it needs. All contiguous.
"""

from __future__ import annotations

from typing import TypeAlias

import numba
import numpy as np
from numpy.typing import NDArray

from model.semantics.arrays import Ints

Words: TypeAlias = NDArray[np.uint64]
"""States, (states, words of a state), or one of them."""

SPARE = 2
"""A table has at least so many slots for each state that it holds, so that probes stay short."""


@numba.njit(cache=True, nogil=True, inline="always")
def _insert(table: Words, key: Words, words: int) -> bool:
    """Whether the key was new. An empty slot is all zero: that is the initial state, which is never reached again."""
    mask = np.uint64(len(table) - 1)
    mixed = key[0]
    for word in range(1, words):
        mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9) + key[word]
    mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
    slot = (mixed ^ (mixed >> np.uint64(32))) & mask
    while True:
        same, empty = True, True
        for word in range(words):
            held = table[slot, word]
            same = same and held == key[word]
            empty = empty and held == 0
        if same:
            return False
        if empty:
            for word in range(words):
                table[slot, word] = key[word]
            return True
        slot = (slot + np.uint64(1)) & mask


@numba.njit(cache=True, nogil=True)
def insert_all(states: Words, table: Words) -> None:
    """Put every state that is not all zero into an empty table."""
    for index in range(len(states)):
        _insert(table, states[index], states.shape[1])


@numba.njit(cache=True, nogil=True, inline="always")
def _unpack(state: Words, positions: Ints, bits: int) -> None:
    fields = 64 // bits
    mask = np.uint64((1 << bits) - 1)
    thread = 0
    for word in range(len(state)):
        rest = state[word]
        for _ in range(min(fields, len(positions) - thread)):
            positions[thread] = np.int64(rest & mask)
            rest >>= np.uint64(bits)
            thread += 1


@numba.njit(cache=True, nogil=True)
def _turn(key: Words, positions: Ints, bits: int, turn: int, words: int, trial: Words) -> None:
    """Replace a state by the least of its rotations by multiples of `turn` threads."""
    threads, fields = len(positions), 64 // bits
    _unpack(key, positions, bits)
    for by in range(turn, threads, turn):
        trial[:] = 0
        for thread in range(threads):
            to = (thread + by) % threads
            trial[to // fields] |= np.uint64(positions[thread]) << np.uint64(to % fields * bits)
        for word in range(words):
            if trial[word] != key[word]:
                if trial[word] < key[word]:
                    key[:] = trial
                break


@numba.njit(cache=True, nogil=True)
def expand(
    frontier: Words,
    begin: int,
    stop: int,
    ended: NDArray[np.bool_],
    table: Words,
    found: int,
    bits: int,
    turn: int,
    offsets: Ints,
    starts: Ints,
    peers: Ints,
    needed: Ints,
    meets: Ints,
    after: Ints,
) -> tuple[int, int, int]:
    """Steps states begin to stop of a frontier into `table`, until that is too full for another state.

    Returns the index of the first state not stepped, the states in the table, and the transitions taken.
    `ended[n]` is set where state begin + n has no step.
    """
    threads, words, fields = len(offsets), frontier.shape[1], 64 // bits
    room = len(table) // SPARE - threads
    positions = np.zeros(threads, dtype=np.int64)
    scratch = np.zeros(threads, dtype=np.int64)
    trial = np.zeros(words, dtype=np.uint64)
    key = np.zeros(words, dtype=np.uint64)
    transitions = 0
    for index in range(begin, stop):
        if found > room:
            return index, found, transitions
        _unpack(frontier[index], positions, bits)
        before = transitions
        for thread in range(threads):
            position = offsets[thread] + positions[thread]
            if after[position, 0] >= 0 and positions[after[position, 0]] < after[position, 1]:
                continue
            alone = True
            for need in range(starts[position], starts[position + 1]):
                if positions[peers[need]] < needed[need]:
                    alone = False
                    break
            partner = meets[position, 0]
            if not alone and (partner < 0 or positions[partner] != meets[position, 1]):
                continue
            if not alone:
                there = offsets[partner] + positions[partner]
                if after[there, 0] >= 0 and positions[after[there, 0]] < after[there, 1]:
                    continue
            for word in range(words):
                key[word] = frontier[index, word]
            key[thread // fields] += np.uint64(1) << np.uint64(thread % fields * bits)
            if not alone:
                key[partner // fields] += np.uint64(1) << np.uint64(partner % fields * bits)
            if turn < threads:
                _turn(key, scratch, bits, turn, words, trial)
            transitions += 1
            found += _insert(table, key, words)
        ended[index - begin] = transitions == before
    return stop, found, transitions
