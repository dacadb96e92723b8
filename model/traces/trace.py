"""A trace: what every rank of a real run did, in the model's own operations, with times.

It says whatever a reader needs to judge the run: the ranks, the loop that they ran, what is declared of the library
behind each communicator, and whose clocks agree. `model.traces.conformance` asks whether the model allows the run;
`model.traces.recorded` shows it on a time axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from model.program.ops import Operation

LATEST = 2**62
"""Nanoseconds; a time is less than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSettings:
    """The serving loop that the ranks ran: its async depth, its ordering by name or vector, the ranks of a stage."""

    depth: int
    ordering: str
    tp: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceEvent:
    """One step of a rank, in whole nanoseconds of the clock of its rank.

    end: None where the step was not over when the trace ends; only the last of a rank. phase, slot: of the loop's
    step; without a loop they say nothing. op: None where the step is the rank's own affair. collective: one that
    the step is, or ends in (`tensor_parallel`). answer: what the loop was told. device: when the accelerator began
    and ended the work that the step queued.
    """

    rank: int
    begin: int
    end: int | None
    iteration: int = 0
    phase: str = ""
    slot: int = 0
    op: Operation | None = None
    collective: tuple[Operation, ...] = ()
    answer: bool | None = None
    device: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A recorded run. `events` stand in the order of each rank's steps; ranks may be mixed.

    loop: None for any other program. semantics: the declared library of each communicator, or `*`, by name. queued:
    communicators whose calls return once their work is queued on a device, so that an end says nothing of completion.
    clocks: by rank the name of its clock; times of equal names compare. complete: every rank came to its end. note:
    how the run ended.
    """

    ranks: int
    loop: LoopSettings | None
    semantics: Mapping[str, str]
    clocks: tuple[str, ...]
    events: tuple[TraceEvent, ...]
    complete: bool
    queued: frozenset[str] = frozenset()
    note: str = ""

    def by_rank(self) -> tuple[tuple[TraceEvent, ...], ...]:
        """The events of each rank, in their order."""
        by_rank: list[list[TraceEvent]] = [[] for _ in range(self.ranks)]
        for event in self.events:
            by_rank[event.rank].append(event)
        return tuple(map(tuple, by_rank))

    def until(self, time: int) -> Trace:
        """The same run as it stood at `time`: what had not begun is left out, what was not over has no end."""
        events = (event for event in self.events if event.begin <= time)
        cut = (event if event.end is not None and event.end <= time else replace(event, end=None) for event in events)
        return replace(self, events=tuple(cut), complete=False)
