"""Is there a run of all ranks together that puts every event within the times that a trace recorded?

A call that was recorded from b to e posts its message, and passes, at some time from b to e: so each event of the
event graph has an earliest and a latest time. The least times that respect the earliest ones and every arc are longest
paths, and a run exists iff none of them is later than the latest time of its event.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model.program.checked import Program, parts, program
from model.program.ops import Batch, Compute, Irecv, Isend, Operation, Recv, RequestId, Send, Wait
from model.semantics.arrays import NONE
from model.semantics.lowering import lower
from model.semantics.parameters import SemanticsByComm
from model.traces.trace import LATEST, Trace, TraceEvent
from model.traces.violation import Violation, Violations, duration, violation_at
from model.verdict.wait_for import wait_for_of_guards

if TYPE_CHECKING:
    from model.events.build import Built
    from model.events.earliest_run import EarliestRun

_ARRIVAL = Compute(label="comes to its next operation")
"""Stands before every operation, so that coming to it, when a blocking call posts, is an event of its own."""


def timing_violations(trace: Trace, events: Sequence[Sequence[TraceEvent]], by_comm: SemanticsByComm) -> Violations:
    """Completions that no run of the model has, or not as early as recorded; and messages left over at the end.

    events: by rank. Raises ValueError where the operations are no program, or hold wildcards.
    """
    from model.events.build import build_graph
    from model.events.earliest_run import EarliestRun  # numba is slow to import
    from model.events.event_graph import NEVER
    from model.semantics.columns import columns_of
    from model.semantics.guards import guards_of

    posting, steps = _posting_program(trace, events)
    built = build_graph(guards_of(columns_of(lower(posting, by_comm))))
    times = _Times(built, events, steps)
    least = times.least(trace.clocks[0], trace.clocks)
    run = EarliestRun(built=built, times=least, passed=least[built.arrival + 1] != NEVER)
    for event in np.flatnonzero((least == NEVER) & (times.latest != LATEST)).tolist():
        yield int(times.latest[event]), times.violation(event, times.why_never(run, event))
    if trace.complete and not run.hangs:
        for message in run.unreceived.tolist():
            event = int(built.arrival[built.columns.at[message]]) + 1
            yield int(times.latest[event]), times.violation(event, "its message meets no other, and the run is over")
    for clock in dict.fromkeys(trace.clocks):
        least = times.least(clock, trace.clocks)
        mine = times.of_clock(clock, trace.clocks)
        for event in np.flatnonzero(mine & (least > times.latest)).tolist():
            yield int(times.latest[event]), times.violation(event, times.why_late(least, mine, event))


class _Times:
    """When each event of the graph may have been, by what was recorded; 0 to LATEST where nothing was."""

    def __init__(self, built: Built, events: Sequence[Sequence[TraceEvent]], steps: Sequence[Sequence[int]]) -> None:
        self._events, self._built, self._graph = events, built, built.graph
        self._source: dict[int, tuple[int, int]] = {}  # event: rank and step
        self.earliest = np.zeros(self._graph.events, dtype=np.int64)
        self.latest = np.full(self._graph.events, LATEST, dtype=np.int64)
        self.rank = np.full(self._graph.events, NONE, dtype=np.int64)
        threads, columns = built.columns.thread_of(), built.columns
        for instruction in np.flatnonzero(threads < len(events)).tolist():  # the hosts, not their queues
            rank, event = int(threads[instruction]), int(built.arrival[instruction]) + 1
            step = steps[rank][int(columns.index[instruction])]
            recorded = events[rank][step]
            self._source[event] = rank, step
            self.rank[event], self.earliest[event] = rank, recorded.begin
            if recorded.end is not None:
                self.latest[event] = recorded.end

    def of_clock(self, clock: str, clocks: Sequence[str]) -> NDArray[np.bool_]:
        """The recorded events of the ranks that have this clock."""
        same = np.array([name == clock for name in clocks])
        mine: NDArray[np.bool_] = (self.rank != NONE) & same[self.rank]
        return mine

    def least(self, clock: str, clocks: Sequence[str]) -> NDArray[np.int64]:
        """The least time of every event that respects the arcs and what the ranks of one clock recorded."""
        from model.events.event_graph import EventGraph

        mine, graph = np.flatnonzero(self.of_clock(clock, clocks)), self._graph
        source = np.full(len(mine), graph.events)
        nothing = np.zeros(len(graph.tails) + len(mine), dtype=np.int64)
        bounded = EventGraph(
            events=graph.events + 1,
            tails=np.concatenate((graph.tails, source)),
            heads=np.concatenate((graph.heads, mine)),
            weights=np.concatenate((np.zeros_like(graph.weights), self.earliest[mine])),
            tokens=nothing,
            costs=nothing,
            missing=graph.missing,
        )
        return bounded.run()[:-1]

    def violation(self, event: int, why: str) -> Violation:
        """Of the step that a recorded event belongs to."""
        rank, step = self._source[event]
        return violation_at(self._events[rank][step], step, why)

    def why_never(self, run: EarliestRun, event: int) -> str:
        """What an event waits for that never happens."""
        if event in self._graph.missing:
            return "it was over, and no other rank did its part"
        arcs = self._graph.chain(run.times, event)
        if arcs:
            return f"it was over, and needs {self._label(int(self._graph.tails[arcs[-1]]))}, which no rank answers"
        waits = wait_for_of_guards(self._built.guards, run.positions, lambda rank, index: "")
        circuit = " -> ".join(f"rank {item.rank}" for item in waits.circuit)
        return f"it was over, and cannot be: {circuit} wait for each other in a circuit"

    def why_late(self, least: NDArray[np.int64], mine: NDArray[np.bool_], event: int) -> str:
        """Whose time holds an event up."""
        graph, at = self._graph, event
        while not (mine[at] and self.earliest[at] == least[event]):
            before = graph.tails[graph.heads == at]
            at = int(before[least[before] == least[event]][0])
        early = duration(int(least[event] - self.latest[event]))
        return f"it was over {early} before the begin of {self._label(at)}, which comes first in every run"

    def _label(self, event: int) -> str:
        if event not in self._source:
            return "a transfer"
        rank, step = self._source[event]
        op = self._events[rank][step].op
        return f"step {step} of rank {rank}" + ("" if op is None else f" ({op!s})")


def _posting_program(trace: Trace, events: Sequence[Sequence[TraceEvent]]) -> tuple[Program, list[list[int]]]:
    """The operations of all ranks, each after coming to it; and by rank and operation the step that it belongs to."""
    lists, steps = list[list[Operation]](), list[list[int]]()
    for mine in events:
        ops, step_of, queued = list[Operation](), list[int](), set[RequestId]()
        for step, event in enumerate(mine):
            if event.op is None and not event.collective:
                continue
            new: list[Operation] = [_ARRIVAL]
            if event.op is not None:
                new += _posted(event.op, trace.queued, queued, f"step {step}")
            for number, op in enumerate(_least_promised(event.collective)):
                new += _posted(op, trace.queued, queued, f"step {step}, collective {number}")
            ops += new
            step_of += [step] * len(new)
        lists.append(ops)
        steps.append(step_of)
    return program(lists), steps


def _least_promised(collective: Sequence[Operation]) -> Sequence[Operation]:
    """A collective by what every library promises: whoever only gives may return before the others take."""
    if all(isinstance(op, Send) for op in collective):
        return [replace(op, mode="buffered") for op in collective if isinstance(op, Send)]
    return collective


def _posted(op: Operation, comms: frozenset[str], queued: set[RequestId], step: str) -> Iterator[Operation]:
    """What a call does before it returns: where it only queues its work, it posts and waits for nothing.

    queued: the open requests of such communicators; kept up to date.
    """
    if isinstance(op, Wait):
        yield Wait(requests=tuple(request for request in op.requests if request not in queued))
        queued.difference_update(op.requests)
        return
    if not any(isinstance(part, Send | Recv | Isend | Irecv) and part.comm in comms for part in parts(op)):
        yield op
        return
    for number, part in enumerate(parts(op)):
        fresh = f"{step}, {number}"
        if isinstance(part, Send):
            yield Isend(peer=part.peer, tag=part.tag, comm=part.comm, request=fresh, nbytes=part.nbytes, mode=part.mode)
        elif isinstance(part, Recv):
            yield Irecv(peer=part.peer, tag=part.tag, comm=part.comm, request=fresh)
        elif isinstance(part, Isend | Irecv):
            if not isinstance(op, Batch):
                queued.add(part.request)
            yield replace(part, request=fresh)
