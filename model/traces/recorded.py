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
from model.program.checked import parts
from model.program.ops import Batch, Compute, Irecv, Isend, Operation, Recv, Send, Wait
from model.semantics.libraries import semantics
from model.semantics.parameters import EVERY_COMM
from model.traces.spans import Span, SpanKind
from model.traces.trace import Trace, TraceEvent

HOST, DEVICE = 0, 1
"""Lanes of a rank. Its compute is on the second one where its accelerator told the times."""

BLOCKING_RETURNS = ("match", "completion")
"""When an isend returns, if it may be held up."""

INSIDE_BUBBLE: tuple[SpanKind, ...] = ("send", "receive", "transfer", "wait", "loop")
"""Kinds of what a rank does while it does not compute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeBreakdown:
    """Of one rank, nanoseconds: in all, idle, and of each kind. What is not idle is compute and bubble."""

    rank: int
    total: int
    of: Mapping[SpanKind, int]

    @property
    def busy(self) -> int:
        """How long the rank held a batch."""
        return self.of["compute"] + self.of["bubble"]

    def part(self, kind: SpanKind) -> float:
        """The share of the time with a batch; 0 where there was none."""
        return self.of[kind] / self.busy if self.busy else 0.0


def recorded_spans(trace: Trace) -> list[Span]:
    """The spans of every rank in nanoseconds from the first step, by rank, lane and time, outer ones first.

    Each step is one, or two where its time splits into waiting for the other end and the rest; times of other clocks
    are not compared. A run without a loop has neither bubbles nor idle time.
    """
    start = min((event.begin for event in trace.events), default=0)
    partners = _partners(trace)
    spans = [span for mine in trace.by_rank() for span in _of_rank(mine, partners, trace.loop is not None)]
    moved = (
        replace(span, begin=span.begin - start, end=None if span.end is None else span.end - start) for span in spans
    )
    last = max((event.end or event.begin for event in trace.events), default=0) - start + 1
    return sorted(moved, key=lambda span: (span.rank, span.lane, span.begin, -(span.end or last)))


def window(spans: Sequence[Span], begin: int, end: int) -> list[Span]:
    """The spans cut to a window of time."""
    return [
        replace(span, begin=max(span.begin, begin), end=end if span.end is None else min(span.end, end))
        for span in spans
        if span.begin < end and (span.end is None or span.end > begin)
    ]


def time_breakdowns(spans: Sequence[Span]) -> list[TimeBreakdown]:
    """Where the time of each rank went. What is not over counts to the end of the last span."""
    last = max((span.end or span.begin for span in spans), default=0)
    first = min((span.begin for span in spans), default=0)
    sums: dict[int, dict[SpanKind, int]] = defaultdict(lambda: defaultdict(int))
    for span in spans:
        sums[span.rank][span.kind] += (last if span.end is None else span.end) - span.begin
    return [
        TimeBreakdown(rank=rank, total=last - first, of={kind: sums[rank][kind] for kind in get_args(SpanKind)})
        for rank in sorted(sums)
    ]


def _partners(trace: Trace) -> dict[int, int]:
    """By the identity of an event that can be held up, when the other end of its message began; the latest of many."""
    ends: dict[tuple[str, int, int, int], tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for number, event in enumerate(trace.events):
        for part in () if event.op is None else parts(event.op):
            if isinstance(part, Send | Isend):
                ends[part.comm, event.rank, part.peer, part.tag][0].append(number)
            elif isinstance(part, Recv | Irecv):
                ends[part.comm, part.peer, event.rank, part.tag][1].append(number)
    begins: dict[int, int] = {}
    for sends, receives in ends.values():
        for send, receive in zip(sends, receives, strict=False):
            one, other = trace.events[send], trace.events[receive]
            if trace.clocks[one.rank] == trace.clocks[other.rank]:
                begins[send] = max(other.begin, begins.get(send, 0))
                begins[receive] = max(one.begin, begins.get(receive, 0))
    events = ((trace.events[number], time) for number, time in begins.items())
    return {id(event): time for event, time in events if _may_block(event.op, trace)}


def _may_block(op: Operation | None, trace: Trace) -> bool:
    """Whether the call returns only after the other end is there, or may."""
    comms = set() if op is None else {part.comm for part in parts(op) if isinstance(part, Send | Isend | Recv | Irecv)}
    if isinstance(op, Irecv) or comms & trace.queued:
        return False
    if isinstance(op, Isend):
        return semantics(trace.semantics.get(op.comm) or trace.semantics[EVERY_COMM]).isend_returns in BLOCKING_RETURNS
    return True


def _of_rank(mine: Sequence[TraceEvent], partners: Mapping[int, int], loop: bool) -> Iterator[Span]:
    batches = 0
    idle_since: int | None = None  # since when the stage computes nothing, while it holds a batch
    over = 0  # the end of its last compute, which may be that of a batch still to be formed: see `Phase.LAUNCH`
    for event in mine:
        forms = event.phase == Phase.FORM and event.answer is True
        if forms:
            batches += 1
            idle_since = max(event.begin, over) if batches == 1 else idle_since
        computes = isinstance(event.op, Compute)
        computed = event.device if computes and event.device else (event.begin, event.end) if computes else None
        lane = DEVICE if computes and event.device else HOST
        if computed is not None:
            if loop and idle_since is not None and computed[0] > idle_since:
                yield _span(event, "bubble", idle_since, computed[0], lane, "bubble")
            yield _span(event, "compute", computed[0], computed[1], lane)
            idle_since = None if computed[1] is None else max(idle_since or 0, computed[1])
            over = max(over, computed[1] or 0)
        if lane == DEVICE or not computes:
            alone = event.collective and event.op is None
            kind: SpanKind = "idle" if loop and not batches and not forms else "transfer" if alone else _kind(event.op)
            yield from _split(event, kind, partners.get(id(event)))
        if event.phase == Phase.FINISH:
            batches -= 1
            if batches == 0 and idle_since is not None and event.end is not None:
                if loop and event.end > idle_since:
                    yield _span(event, "bubble", idle_since, event.end, _lane(mine), "bubble")
                idle_since = None
    if loop and batches and idle_since is not None:
        end = mine[-1].end
        if end is None or end > idle_since:
            yield _span(mine[-1], "bubble", idle_since, end, _lane(mine), "bubble")


def _lane(mine: Sequence[TraceEvent]) -> int:
    return DEVICE if any(event.device for event in mine) else HOST


def _kind(op: Operation | None) -> SpanKind:
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


def _split(event: TraceEvent, kind: SpanKind, other: int | None) -> Iterator[Span]:
    begin, end = event.begin, event.end
    both = begin if other is None else max(begin, other)  # when both ends have begun
    if kind in ("send", "receive", "transfer") and (both > begin or end is None):
        until = None if end is None else min(both, end)
        yield _span(event, "wait", begin, until, HOST)
        if until is None or until == end:
            return
        begin = until
    yield _span(event, kind, begin, end, HOST)


def _span(event: TraceEvent, kind: SpanKind, begin: int, end: int | None, lane: int, name: str = "") -> Span:
    step = event.phase if event.op is None else str(event.op)
    return Span(rank=event.rank, lane=lane, kind=kind, op=name or step, begin=begin, end=end)
