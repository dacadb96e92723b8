"""Where every rank is: one row of shared memory each, written by the rank and read by the engine.

A rank that hangs cannot be asked, so before each step it says what it is about to do. A step costs its rank
a handful of stores and no system call.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Any

from model.pipelines.serving import Phase
from model.program.ops import Batch, Isend, Operation, Recv, Wait

PHASE_START = "start"
PHASE_LOAD = "load weights"
PHASE_JOIN = "join group"
PHASE_READY = "ready"
PHASE_END = "end"

PHASES: tuple[str, ...] = (
    PHASE_START,
    PHASE_LOAD,
    PHASE_JOIN,
    PHASE_READY,
    *(str(phase) for phase in Phase),
    PHASE_END,
)
PREPARING = frozenset({PHASE_START, PHASE_LOAD, PHASE_JOIN})
"""Phases before the loop: their time is bounded by `start_timeout`, not by `watchdog`."""

_INDEX = {name: index for index, name in enumerate(PHASES)}
COLLECTIVES = ("all-reduce", "all-gather", "broadcast")
_KINDS: tuple[str, ...] = ("", Isend.kind, Recv.kind, Wait.kind, Batch.kind, *COLLECTIVES)
_NOBODY = -1


class _Row(ctypes.Structure):
    _fields_ = (
        ("progress", ctypes.c_uint64),
        ("since", ctypes.c_double),
        ("iteration", ctypes.c_int64),
        ("phase", ctypes.c_int32),
        ("slot", ctypes.c_int32),
        ("kind", ctypes.c_int32),
        ("peer", ctypes.c_int32),
        ("tag", ctypes.c_int32),
        ("met", ctypes.c_uint64),  # how many collectives of its stage the rank has entered
        ("members", ctypes.c_int32),  # how many ranks, from `peer` on, the collective at hand is of
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RankStatus:
    """What one rank is doing. `progress` counts its steps; `since` is when this one began (seconds, monotonic).

    kind, peer, tag: the operation, where the step has one; `peer` is the rank that it waits for.
    members: in a collective, its ranks; `late` those of them that have not come to it.
    """

    rank: int
    progress: int
    since: float
    phase: str
    iteration: int
    slot: int
    kind: str = ""
    peer: int | None = None
    tag: int = 0
    members: tuple[int, ...] = ()
    late: tuple[int, ...] = ()

    @property
    def waits_for(self) -> tuple[int, ...]:
        """The ranks without which the operation does not end."""
        return self.late if self.peer is None else (self.peer,)

    @property
    def op(self) -> str:
        """The operation as text, such as `isend(1, tag=2)` or `all-reduce(2, 3)`; empty where the step has none."""
        if self.members:
            return f"{self.kind}({', '.join(map(str, self.members))})"
        return "" if self.peer is None else f"{self.kind}({self.peer}, tag={self.tag})"


class StatusBoard:
    """The rows of all ranks. Made by the engine, and handed to each rank when its process is started."""

    def __init__(self, context: BaseContext, ranks: int) -> None:
        # an unlinked mapping: nothing is left on the machine, however the processes end
        self._rows: Any = context.RawArray(_Row, ranks)
        self.ranks = ranks
        for rank in range(ranks):
            self.begin_step(rank, PHASE_START)

    def begin_step(
        self,
        rank: int,
        phase: str,
        op: Operation | None = None,
        *,
        slot: int = 0,
        iteration: int = 0,
        waits_for: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """The rank begins a step. `waits_for` names the peer where `op` does not (a wait)."""
        row = self._rows[rank]
        row.phase, row.slot, row.iteration, row.members = _INDEX[phase], slot, iteration, 0
        if op is None:
            row.kind, row.peer, row.tag = 0, _NOBODY, 0
        elif isinstance(op, Wait):
            row.kind, row.peer, row.tag = 3, _NOBODY if waits_for is None else waits_for, int(op.requests[0])
        elif isinstance(op, Isend | Recv):
            row.kind, row.peer, row.tag = 1 if isinstance(op, Isend) else 2, op.peer, op.tag
        elif isinstance(op, Batch):
            row.kind, row.peer, row.tag = 4, op.ops[0].peer, op.ops[0].tag
        row.since = clock()
        row.progress += 1

    def begin_collective(
        self, rank: int, kind: str, members: Sequence[int], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """The rank enters a collective of neighbouring ranks, within its step."""
        row = self._rows[rank]
        row.met += 1
        row.kind, row.peer, row.members = _KINDS.index(kind), members[0], len(members)
        row.since = clock()
        row.progress += 1

    def end_collective(self, rank: int) -> None:
        """The rank has left its collective."""
        row = self._rows[rank]
        row.kind, row.peer, row.members = 0, _NOBODY, 0
        row.progress += 1

    def row_as_dict(self, rank: int, *, clock: Callable[[], float] = time.monotonic) -> dict[str, float]:
        """The rank's row as plain numbers, for another host: `since` becomes the age of the step."""
        row = self._rows[rank]
        return {name: getattr(row, name) for name, _ in _Row._fields_} | {"since": clock() - row.since}

    def set_row(self, rank: int, row: Mapping[str, float], now: float) -> None:
        """The inverse of `row_as_dict`, on a board of another host."""
        for name, _ in _Row._fields_:
            setattr(self._rows[rank], name, now - row[name] if name == "since" else row[name])

    def progress(self) -> tuple[int, ...]:
        """How many steps each rank has begun."""
        return tuple(row.progress for row in self._rows)

    def read(self, rank: int) -> RankStatus:
        """Where the rank is. Exact once it stands still; while it moves, two steps may be mixed."""
        row = self._rows[rank]
        members = tuple(range(row.peer, row.peer + row.members))
        return RankStatus(
            rank=rank,
            progress=row.progress,
            since=row.since,
            phase=PHASES[row.phase],
            iteration=row.iteration,
            slot=row.slot,
            kind=_KINDS[row.kind],
            peer=None if row.peer == _NOBODY or members else row.peer,
            tag=row.tag,
            members=members,
            late=tuple(other for other in members if self._rows[other].met < row.met),
        )

    def statuses(self) -> tuple[RankStatus, ...]:
        """Where all ranks are."""
        return tuple(self.read(rank) for rank in range(self.ranks))
