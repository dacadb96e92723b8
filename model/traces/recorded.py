"""A recorded run on a time axis: what each rank did when, and how much of its time went where.

A stage is in a bubble while it holds a batch and computes nothing. What its rank does meanwhile (sends, receives,
waits for others, the loop's own work) lies inside the bubble. A rank without any batch is idle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from model.pipelines.serving import Phase
from model.program.json_form import text
from model.program.ops import Batch, Compute, Irecv, Isend, Operation, Recv, Send, Wait, parts
from model.semantics.libraries import semantics
from model.semantics.parameters import EVERY_COMM
from model.traces.jsonl import Record, Trace
from model.traces.timeline import Kind, Span

HOST, DEVICE = 0, 1
"""Lanes of a rank. Its compute is on the second one where its accelerator told the times."""

WAITING = ("match", "completion")
"""When an isend returns, if it may be held up."""

INSIDE: tuple[Kind, ...] = ("send", "receive", "transfer", "wait", "loop")
"""Kinds of what a rank does while it does not compute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Of one rank, nanoseconds: in all, idle, and of each kind. What is not idle is compute and bubble."""

    rank: int
    total: int
    of: Mapping[Kind, int]

    @property
    def held(self) -> int:
        """How long the rank held a batch."""
        return self.of["compute"] + self.of["bubble"]

    def part(self, kind: Kind) -> float:
        """The share of the time with a batch; 0 where there was none."""
        return self.of[kind] / self.held if self.held else 0.0


def spans(trace: Trace) -> list[Span]:
    """The spans of every rank in nanoseconds from the first step, by rank, lane and time, outer ones first.

    Each step is one, or two where its time splits into waiting for the other end and the rest; times of other clocks
    are not compared. A run without a loop has neither bubbles nor idle time.
    """
    start = min((record.begin for record in trace.records), default=0)
    partners = _partners(trace)
    found = [span for mine in trace.by_rank() for span in _of_rank(mine, partners, trace.loop is not None)]
    moved = (
        replace(span, begin=span.begin - start, end=None if span.end is None else span.end - start) for span in found
    )
    last = max((record.end or record.begin for record in trace.records), default=0) - start + 1
    return sorted(moved, key=lambda span: (span.rank, span.lane, span.begin, -(span.end or last)))


def window(found: Sequence[Span], begin: int, end: int) -> list[Span]:
    """The spans cut to a window of time."""
    return [
        replace(span, begin=max(span.begin, begin), end=end if span.end is None else min(span.end, end))
        for span in found
        if span.begin < end and (span.end is None or span.end > begin)
    ]


def shares(found: Sequence[Span]) -> list[Shares]:
    """Where the time of each rank went. What is not over counts to the end of the last span."""
    last = max((span.end or span.begin for span in found), default=0)
    first = min((span.begin for span in found), default=0)
    sums: dict[int, dict[Kind, int]] = defaultdict(lambda: defaultdict(int))
    for span in found:
        sums[span.rank][span.kind] += (last if span.end is None else span.end) - span.begin
    return [
        Shares(rank=rank, total=last - first, of={kind: sums[rank][kind] for kind in get_args(Kind)})
        for rank in sorted(sums)
    ]


def _partners(trace: Trace) -> dict[int, int]:
    """By the identity of a record that can be held up, when the other end of its message began; the latest of many."""
    ends: dict[tuple[str, int, int, int], tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for place, record in enumerate(trace.records):
        for part in () if record.op is None else parts(record.op):
            if isinstance(part, Send | Isend):
                ends[part.comm, record.rank, part.peer, part.tag][0].append(place)
            elif isinstance(part, Recv | Irecv):
                ends[part.comm, part.peer, record.rank, part.tag][1].append(place)
    found: dict[int, int] = {}
    for sends, receives in ends.values():
        for send, receive in zip(sends, receives, strict=False):
            one, other = trace.records[send], trace.records[receive]
            if trace.clocks[one.rank] == trace.clocks[other.rank]:
                found[send] = max(other.begin, found.get(send, 0))
                found[receive] = max(one.begin, found.get(receive, 0))
    return {id(trace.records[place]): time for place, time in found.items() if _holds(trace.records[place].op, trace)}


def _holds(op: Operation | None, trace: Trace) -> bool:
    """Whether the call returns only after the other end is there, or may."""
    comms = set() if op is None else {part.comm for part in parts(op) if isinstance(part, Send | Isend | Recv | Irecv)}
    if isinstance(op, Irecv) or comms & trace.queued:
        return False
    if isinstance(op, Isend):
        return semantics(trace.semantics.get(op.comm) or trace.semantics[EVERY_COMM]).isend_returns in WAITING
    return True


def _of_rank(mine: Sequence[Record], partners: Mapping[int, int], loop: bool) -> Iterator[Span]:
    held = 0
    free: int | None = None  # since when the stage computes nothing, while it holds a batch
    over = 0  # the end of its last compute, which may be that of a batch still to be formed: see `Phase.LAUNCH`
    for record in mine:
        forms = record.phase == Phase.FORM and record.answer is True
        if forms:
            held += 1
            free = max(record.begin, over) if held == 1 else free
        computes = isinstance(record.op, Compute)
        busy = record.device if computes and record.device else (record.begin, record.end) if computes else None
        lane = DEVICE if computes and record.device else HOST
        if busy is not None:
            if loop and free is not None and busy[0] > free:
                yield _span(record, "bubble", free, busy[0], lane, "bubble")
            yield _span(record, "compute", busy[0], busy[1], lane)
            free = None if busy[1] is None else max(free or 0, busy[1])
            over = max(over, busy[1] or 0)
        if lane == DEVICE or not computes:
            collective = record.shared and record.op is None
            kind: Kind = "idle" if loop and not held and not forms else "transfer" if collective else _kind(record.op)
            yield from _split(record, kind, partners.get(id(record)))
        if record.phase == Phase.FINISH:
            held -= 1
            if held == 0 and free is not None and record.end is not None:
                if loop and record.end > free:
                    yield _span(record, "bubble", free, record.end, _lane(mine), "bubble")
                free = None
    if loop and held and free is not None:
        end = mine[-1].end
        if end is None or end > free:
            yield _span(mine[-1], "bubble", free, end, _lane(mine), "bubble")


def _lane(mine: Sequence[Record]) -> int:
    return DEVICE if any(record.device for record in mine) else HOST


def _kind(op: Operation | None) -> Kind:
    match op:
        case Send() | Isend():
            return "send"
        case Recv() | Irecv():
            return "receive"
        case Batch():
            return "transfer"
        case Wait():
            return "wait"
        case _:
            return "loop"


def _split(record: Record, kind: Kind, other: int | None) -> Iterator[Span]:
    begin, end = record.begin, record.end
    there = begin if other is None else max(begin, other)  # when both ends are
    if kind in ("send", "receive", "transfer") and (there > begin or end is None):
        until = None if end is None else min(there, end)
        yield _span(record, "wait", begin, until, HOST)
        if until is None or until == end:
            return
        begin = until
    yield _span(record, kind, begin, end, HOST)


def _span(record: Record, kind: Kind, begin: int, end: int | None, lane: int, name: str = "") -> Span:
    step = record.phase if record.op is None else text(record.op)
    return Span(rank=record.rank, lane=lane, kind=kind, op=name or step, begin=begin, end=end)
