"""The spans of a simulated run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from model.events.event_graph import NEVER
from model.events.simulator import Simulation
from model.events.timing import Timing
from model.semantics.instructions import Instruction, Lowered
from model.traces.spans import Span, SpanKind


def simulated_spans(lowered: Lowered, simulation: Simulation, timing: Timing) -> list[Span]:
    """The spans of every rank, by rank, lane and time; those of no length are left out."""
    columns = simulation.columns
    wires = np.zeros(len(columns.index), dtype=np.int64)  # how long its messages are under way at most
    sizes = np.array([_bytes(lowered, message) for message in range(len(lowered.messages))], dtype=np.int64)
    length = timing.wire(sizes) + timing.overhead
    np.maximum.at(wires, columns.at[columns.blocking], length[columns.blocking])
    wires[columns.at[~columns.blocking]] = timing.overhead
    np.maximum.at(wires, columns.awaits[:, 0], length[columns.awaits[:, 1]])
    lanes: dict[int, int] = {}
    out: list[Span] = []
    for thread, one in enumerate(lowered.threads):
        lane = lanes[one.rank] = lanes.get(one.rank, -1) + 1
        for at, item in enumerate(one.code):
            number = int(columns.starts[thread]) + at
            begin, end = int(simulation.arrived[number]), int(simulation.passed[number])
            if begin != NEVER:
                out += _split(one.rank, lane, _kind(lowered, item), str(item.op), begin, end, int(wires[number]))
    return sorted(out, key=lambda span: (span.rank, span.lane, span.begin))


def _bytes(lowered: Lowered, message: int) -> int:
    return lowered.messages[message].nbytes


def _kind(lowered: Lowered, item: Instruction) -> SpanKind:
    """What an instruction does once it need not wait."""
    if item.kind == "local":
        return "compute"
    sends = {lowered.messages[message].sends for message in item.messages}
    return "send" if sends == {True} else "receive" if sends == {False} else "transfer"


def _split(rank: int, lane: int, what: SpanKind, op: str, begin: int, end: int, wire: int) -> Iterator[Span]:
    if end == NEVER:
        yield Span(rank=rank, lane=lane, kind="wait", op=op, begin=begin, end=None)
        return
    if what == "compute":
        parts: Sequence[tuple[SpanKind, int, int]] = ((what, begin, end),)
    else:
        starts = max(begin, end - wire)
        parts = (("wait", begin, starts), (what, starts, end))
    for kind, first, last in parts:
        if last > first:
            yield Span(rank=rank, lane=lane, kind=kind, op=op, begin=first, end=last)
