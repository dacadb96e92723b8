"""Exhaustive search over packed states, whole frontiers at once: the fast path of the engine explorer.

A state is the position of every thread, in fields of equal width in one or more 64-bit words. All paths to a state have
the same number of steps (it is the sum of the positions less the pairs that passed together), so a state
is met again only in the frontier where it was first met: what is kept is one frontier and the next.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from model.states.bfs import ONE_RUN_DECIDES, too_many
from model.states.kernels import SPARE, Words, expand, insert_all
from model.states.options import MAX_MEMORY
from model.states.position_guards import Guard, GuardsByThread, Precondition

CHUNK = 1 << 18
"""States that are stepped between two looks at progress and at an interrupt."""


NOBODY: Precondition = (-1, -1)
"""Where an instruction needs no other thread."""


class Interrupted(KeyboardInterrupt):
    """A search was interrupted and has written its state to a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A search between two frontiers. `level`: steps from the initial state. The counts are of all levels before."""

    frontier: Words
    level: int = 0
    states: int = 1
    transitions: int = 0
    endings: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a search saw. `endings`: the positions of every state without steps."""

    states: int
    transitions: int
    levels: int
    endings: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Guards as arrays. Positions of all threads are numbered through; the one past a thread's end never passes."""

    threads: int
    bits: int
    words: int
    turn: int
    offsets: NDArray[np.int64]
    starts: NDArray[np.int64]  # needs of position p: starts[p] to starts[p + 1]
    peers: NDArray[np.int64]
    positions: NDArray[np.int64]
    meets: NDArray[np.int64]  # (thread, position) by position; the thread is -1 where there is none
    after: NDArray[np.int64]  # the same
    digest: str

    @staticmethod
    def of(guards: GuardsByThread, *, rotate: bool) -> Layout:
        """The arrays of guards; `rotate`: states that differ by a symmetry of the program are one."""
        bits = max(1, *(len(code).bit_length() for code in guards))
        turn = symmetry(guards) if rotate else len(guards)
        offsets, starts, needs, meets, after = [], [0], list[Precondition](), list[Precondition](), list[Precondition]()
        for thread, code in enumerate(guards):
            offsets.append(len(meets))
            # nobody passes the end
            for guard in (*code, Guard(needs=((thread, len(code) + 1),))):
                needs += guard.needs
                starts.append(len(needs))
                meets.append(guard.meets or NOBODY)
                after.append(guard.after or NOBODY)
        columns = np.array(needs, dtype=np.int64).reshape(-1, 2)
        return Layout(
            threads=len(guards),
            bits=bits,
            words=-(-len(guards) // (64 // bits)),
            turn=turn,
            offsets=np.array(offsets, dtype=np.int64),
            starts=np.array(starts, dtype=np.int64),
            peers=np.ascontiguousarray(columns[:, 0]),
            positions=np.ascontiguousarray(columns[:, 1]),
            meets=np.array(meets, dtype=np.int64),
            after=np.array(after, dtype=np.int64),
            digest=hashlib.sha256(repr((guards, turn)).encode()).hexdigest(),
        )

    def arrays(self) -> tuple[Any, ...]:
        """What `kernels.expand` takes of a layout."""
        return self.bits, self.turn, self.offsets, self.starts, self.peers, self.positions, self.meets, self.after

    def unpack(self, state: Words) -> tuple[int, ...]:
        """The position of every thread in one state."""
        fields, mask = 64 // self.bits, (1 << self.bits) - 1
        return tuple(
            int(state[thread // fields]) >> (thread % fields * self.bits) & mask for thread in range(self.threads)
        )


def search(
    guards: GuardsByThread,
    *,
    max_states: int,
    max_memory: int = MAX_MEMORY,
    rotate: bool = False,
    progress: Callable[[int], None] | None = None,
    checkpoint: Path | None = None,
    resume: Path | None = None,
) -> Counts:
    """Every reachable state of the guards, level by level; with `rotate`, one of each class under rotation.

    `progress` is called with the number of states so far. An interrupt (KeyboardInterrupt) writes the
    level where it came to `checkpoint`, raises Interrupted, and `resume` goes on from there.

    Raises ValueError where a probe passes by any of several sends, past `max_states` states or `max_memory` bytes,
    and where the file to resume from is not a checkpoint of this search.
    """
    if any(guard.any_of for code in guards for guard in code):
        raise ValueError("a probe passes by any of several sends, which does not pack; use --reduce persistent")
    layout = Layout.of(guards, rotate=rotate)
    at = Level(frontier=np.zeros((1, layout.words), dtype=np.uint64)) if resume is None else _load(resume, layout)
    try:
        while len(at.frontier):
            at = _next_level(layout, at, max_memory=max_memory, progress=progress)
            if at.states > max_states:
                raise ValueError(too_many(max_states, ONE_RUN_DECIDES))
    except KeyboardInterrupt:
        if checkpoint is None:
            raise
        _save(checkpoint, layout, at)
        raise Interrupted(f"interrupted after {at.states} states; go on with --resume {checkpoint}") from None
    return Counts(states=at.states, transitions=at.transitions, levels=at.level, endings=at.endings)


def _next_level(layout: Layout, at: Level, *, max_memory: int, progress: Callable[[int], None] | None) -> Level:
    size = 1 << max(10, (2 * SPARE * len(at.frontier)).bit_length())
    table = _table(layout, size, at, max_memory)
    begin, found, transitions = 0, 0, 0
    ends: list[tuple[int, ...]] = []
    while begin < len(at.frontier):
        stop = min(begin + CHUNK, len(at.frontier))
        ended = np.zeros(stop - begin, dtype=np.bool_)
        reached, found, passed = expand(at.frontier, begin, stop, ended, table, found, *layout.arrays())
        ends += [layout.unpack(at.frontier[begin + index]) for index in np.flatnonzero(ended[: reached - begin])]
        transitions += int(passed)
        begin = int(reached)
        if begin < stop:  # the table is full
            old, table = table, _table(layout, 2 * len(table), at, max_memory)
            insert_all(old, table)
        if progress is not None:
            progress(at.states + int(found))
    return Level(
        frontier=table[np.any(table, axis=1)],
        level=at.level + 1,
        states=at.states + int(found),
        transitions=at.transitions + transitions,
        endings=(*at.endings, *ends),
    )


def _table(layout: Layout, size: int, at: Level, max_memory: int) -> Words:
    """An empty hash table; a table that grows stands beside the one of half its size and the frontier."""
    needed = (size + size // 2 + len(at.frontier)) * layout.words * 8
    if needed > max_memory:
        raise ValueError(
            f"level {at.level}, {at.states} states: the next frontier needs {needed} bytes, over the bound of "
            f"{max_memory}; raise --max-memory, or reduce"
        )
    return np.zeros((size, layout.words), dtype=np.uint64)


def _save(path: Path, layout: Layout, at: Level) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            np.savez(
                file,
                digest=np.array(layout.digest),
                frontier=at.frontier,
                counts=np.array([at.level, at.states, at.transitions], dtype=np.int64),
                endings=np.array(at.endings, dtype=np.int64).reshape(-1, layout.threads),
            )
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _load(path: Path, layout: Layout) -> Level:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            digest, frontier, counts, ends = (file[name] for name in ("digest", "frontier", "counts", "endings"))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise ValueError(f"cannot resume from {str(path)!r}: {error}") from None
    if str(digest) != layout.digest:
        raise ValueError(f"{str(path)!r} is of another program, semantics or reduction; start without --resume")
    level, states, transitions = map(int, counts)
    endings = tuple(tuple(map(int, end)) for end in ends)
    return Level(frontier=frontier, level=level, states=states, transitions=transitions, endings=endings)


def symmetry(guards: GuardsByThread) -> int:
    """The least s > 0 such that turning the ranks by s leaves the program as it is: at most the number of ranks."""
    ranks = len(guards)

    def turned(need: Precondition | None, by: int) -> Precondition | None:
        return None if need is None else ((need[0] + by) % ranks, need[1])

    def same(guard: Guard, other: Guard, by: int) -> bool:
        return (
            sorted(turned(need, by) or need for need in guard.needs) == sorted(other.needs)
            and turned(guard.after, by) == other.after
            and turned(guard.meets, by) == other.meets
        )

    def fits(by: int) -> bool:
        pairs = ((code, guards[(rank + by) % ranks]) for rank, code in enumerate(guards))
        return all(len(a) == len(b) and all(same(x, y, by) for x, y in zip(a, b, strict=True)) for a, b in pairs)

    return next(by for by in range(1, ranks + 1) if ranks % by == 0 and fits(by))
