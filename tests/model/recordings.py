"""Traces of serving loops that run without processes: ranks take turns, messages take no time, a counter is the clock.

Independent of the model's engines, which are to judge these traces.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from model.pipelines.serving import CONTROL, DATA, Phase, Step, serving_loop
from model.program.ops import Isend, Operation, Recv, Wait
from model.rings.orderings import ordering
from model.traces.trace import LoopSettings, Trace, TraceEvent

Channel = tuple[str, int, int, int]


@dataclass(slots=True)
class _Rank:
    loop: object
    step: Step | None = None
    begin: int = 0
    polls: int = 0
    forms: int = 0
    events: list[TraceEvent] = field(default_factory=list)
    open: dict[object, tuple[Channel, int]] = field(default_factory=dict)


def recording(
    *,
    ranks: int,
    depth: int = 0,
    policy: str = "parity",
    present: Sequence[bool] = (True,) * 4,
    blocking: bool = False,
    seed: int = 0,
) -> Trace:
    """A run of the loop, to its end or to where it hangs. blocking: an isend of data waits for its receive."""
    chance, now = random.Random(seed), 1000
    team = [
        _Rank(serving_loop(rank=rank, ranks=ranks, depth=depth, ordering=ordering(policy, ranks)))
        for rank in range(ranks)
    ]
    sent: dict[Channel, int] = defaultdict(int)
    awaited: dict[Channel, int] = defaultdict(int)
    begun: set[int] = set()

    def ready(rank: int, op: Operation | None) -> bool:
        match op:
            case Isend():
                key = op.comm, rank, op.peer, op.tag
                return not (blocking and op.comm == DATA) or awaited[key] >= sent[key]
            case Recv():
                key = op.comm, op.peer, rank, op.tag
                return sent[key] >= awaited[key]
            case Wait():
                return all(awaited[key] >= number for key, number in (team[rank].open[r] for r in op.requests))
            case _:
                return True

    def start(rank: int, answer: bool | None) -> None:
        me = team[rank]
        try:
            me.step = me.loop.send(answer)
        except StopIteration:
            me.step = None

    for rank in range(ranks):
        start(rank, None)
    while able := [
        rank for rank, me in enumerate(team) if me.step is not None and (rank not in begun or ready(rank, me.step.op))
    ]:
        rank, now = chance.choice(able), now + chance.randint(1, 50)
        me = team[rank]
        assert me.step is not None
        op, phase = me.step.op, me.step.phase
        if rank not in begun:
            begun.add(rank)
            me.begin = now
            if isinstance(op, Isend):
                key = op.comm, rank, op.peer, op.tag
                sent[key] += 1
                me.open[op.request] = key, sent[key]
            elif isinstance(op, Recv):
                awaited[op.comm, op.peer, rank, op.tag] += 1
            continue
        answer = None
        if phase in (Phase.POLL, Phase.RECV_REQUESTS):
            me.polls += 1
            answer = me.polls <= len(present)
        elif phase is Phase.FORM:
            answer = me.forms < len(present) and present[me.forms]
            me.forms += 1
        begun.discard(rank)
        me.events.append(_event(rank, me, end=now, answer=answer))
        start(rank, answer)
    finished = all(me.step is None for me in team)
    for rank in begun:
        team[rank].events.append(_event(rank, team[rank], end=None, answer=None))
    return Trace(
        ranks=ranks,
        loop=LoopSettings(depth=depth, ordering=policy),
        semantics={CONTROL: "gloo", DATA: "rendezvous" if blocking else "gloo"},
        clocks=("one",) * ranks,
        events=tuple(sorted((item for me in team for item in me.events), key=lambda item: item.begin)),
        complete=finished,
    )


def _event(rank: int, me: _Rank, *, end: int | None, answer: bool | None) -> TraceEvent:
    assert me.step is not None
    op = replace(me.step.op, nbytes=8) if isinstance(me.step.op, Isend) else me.step.op
    started = sum(item.phase in (Phase.POLL, Phase.RECV_REQUESTS) for item in me.events)
    first = me.step.phase in (Phase.POLL, Phase.RECV_REQUESTS)
    return TraceEvent(
        rank=rank,
        begin=me.begin,
        end=end,
        iteration=started - 1 + first,
        phase=str(me.step.phase),
        slot=me.step.slot,
        op=op,
        answer=answer,
    )


def at(trace: Trace, rank: int, phase: str, number: int = 0) -> int:
    """Where in `events` the n-th step of a rank with this phase stands."""
    return [place for place, item in enumerate(trace.events) if (item.rank, item.phase) == (rank, phase)][number]


def without(trace: Trace, place: int) -> Trace:
    """The trace with one event left out."""
    return replace(trace, events=trace.events[:place] + trace.events[place + 1 :])


def changed(trace: Trace, place: int, **changes: object) -> Trace:
    """The trace with one event changed."""
    events = list(trace.events)
    events[place] = replace(events[place], **changes)
    return replace(trace, events=tuple(events))


def plain(*ranks: list[tuple[Operation, int, int | None]], complete: bool = True, **options: object) -> Trace:
    """A trace of any program; of each operation begin and end."""
    events = [
        TraceEvent(rank=rank, begin=begin, end=end, op=op) for rank, ops in enumerate(ranks) for op, begin, end in ops
    ]
    given: dict[str, object] = {"semantics": {"*": "gloo"}, **options}
    return Trace(
        ranks=len(ranks),
        loop=None,
        clocks=("one",) * len(ranks),
        events=tuple(events),
        complete=complete,
        **given,
    )
