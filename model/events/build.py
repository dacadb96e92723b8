"""From the guards of a program to its event graph: every precondition as an arc, weighed with time.

Every instruction has two events: its `arrival`, when its thread comes to it, and the next one, when it is passed,
which is the arrival of the one after. Blocking messages that are held up have one more event, their post.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.events.event_graph import EventGraph
from model.events.timing import UNIT, Timing
from model.semantics.arrays import NONE, Ints
from model.semantics.buffer_slots import RENDEZVOUS
from model.semantics.columns import Columns
from model.semantics.guards import ABSENT, BARRIER, CONNECTION, HANDED_OVER, POSTED, PROBE, SLOT, Guards


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The event graph of a program, and what its events mean.

    arrival: by instruction, the event that its thread comes to it. thread: by event. posted: by message, its post.
    """

    guards: Guards
    graph: EventGraph
    arrival: Ints
    thread: Ints
    posted: Ints

    @property
    def columns(self) -> Columns:
        """Of the program."""
        return self.guards.columns

    def instruction(self, event: int) -> int | None:
        """The instruction that a thread passes at this event, or is held up in at a post; None at a thread's first."""
        columns = self.columns
        first = len(columns.starts) - 1 + len(columns.index)
        if event >= first:
            return int(columns.at[np.flatnonzero(self.posted == event)[0]])
        thread = int(self.thread[event])
        before = event - thread - 1
        return before if before >= columns.starts[thread] else None


def build_graph(guards: Guards, timing: Timing = UNIT, *, repeated: bool = False) -> Built:
    """The event graph of guards; `repeated`: of those of a program repeated for ever, connections made.

    Raises ValueError where a probe passes by any of several sends.
    """
    if guards.has_alternatives:
        raise ValueError(
            "a wildcard probe passes by any of several sends: no one graph decides; ask check with engine explorer"
        )
    columns = guards.columns
    thread = columns.thread_of()
    threads = np.arange(len(columns.rank_of))
    arrival = np.arange(len(thread)) + thread
    arcs = _Arcs()

    posts = _posts(arcs, guards, timing, arrival, thread)
    if timing.gap > 0:
        _space(arcs, columns, posts.event, thread, timing, repeated=repeated)
    _weigh(arcs, guards, posts, timing, arrival, repeated=repeated)
    if repeated:
        arcs.add(columns.starts[1:] + threads, columns.starts[:-1] + threads, 0, 1)

    never = (guards.other == NONE) & ~(repeated & (guards.kind == ABSENT))
    of_event = np.concatenate((np.repeat(threads, np.diff(columns.starts) + 1), thread[columns.at[posts.late]]))
    graph = arcs.graph(posts.events, columns.rank_of[of_event], np.unique(arrival[guards.instruction[never]] + 1))
    return Built(guards=guards, graph=graph, arrival=arrival, thread=of_event, posted=posts.event)


class _Arcs:
    """Columns of arcs that grow by blocks."""

    def __init__(self) -> None:
        self._blocks: list[tuple[Ints, Ints, Ints, Ints]] = []

    def add(self, tails: Ints, heads: Ints, weights: Ints | int, tokens: Ints | int = 0) -> None:
        size = len(tails)
        wide = [np.broadcast_to(np.asarray(value, dtype=np.int64), (size,)) for value in (weights, tokens)]
        self._blocks.append((tails, heads, wide[0], wide[1]))

    def graph(self, events: int, rank: Ints, missing: Ints) -> EventGraph:
        tails, heads, weights, tokens = (np.concatenate(column) for column in zip(*self._blocks, strict=True))
        self._blocks.clear()
        return EventGraph(
            events=events,
            tails=tails,
            heads=heads,
            weights=weights,
            tokens=tokens,
            costs=(rank[tails] != rank[heads]).astype(np.int64),
            missing=missing,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Posts:
    """When messages are posted. event, delay: by message, so many ticks after that event. late: the messages whose post
    is an event of its own. events: how many there are now."""

    event: Ints
    delay: Ints
    late: Ints
    events: int


def _posts(arcs: _Arcs, guards: Guards, timing: Timing, arrival: Ints, thread: Ints) -> _Posts:
    """Arcs from coming to an instruction to passing it, by way of the post of a blocking message that is held up."""
    columns = guards.columns
    duration = timing.ticks(columns.seconds)
    duration[columns.at[columns.sends & ~columns.blocking]] = timing.overhead
    arcs.add(arrival, arrival + 1, duration)

    nodes = len(thread) + len(columns.rank_of)
    handed = columns.after[columns.at] != NONE
    apart = columns.blocking & (handed | (columns.sends & (timing.gap > 0)))
    late = np.flatnonzero(apart)
    event = np.where(columns.blocking, arrival[columns.at], arrival[columns.at] + 1)
    event[late] = nodes + np.arange(len(late))
    arcs.add(arrival[columns.at[late]], event[late], np.where(columns.sends[late], timing.overhead, 0))
    arcs.add(event[late], arrival[columns.at[late]] + 1, 0)
    # what hands over a blocking message lets it be posted; any other instruction it lets pass
    rows = np.flatnonzero(guards.kind == HANDED_OVER)
    waits = guards.instruction[rows]
    held = np.full(len(thread), NONE, dtype=np.int64)
    held[columns.at[late]] = event[late]
    arcs.add(arrival[guards.other[rows]] + 1, np.where(held[waits] == NONE, arrival[waits] + 1, held[waits]), 0)
    delay = np.where(columns.blocking & columns.sends & ~apart, timing.overhead, 0)
    return _Posts(event=event, delay=delay, late=late, events=nodes + len(late))


def _weigh(arcs: _Arcs, guards: Guards, posts: _Posts, timing: Timing, arrival: Ints, *, repeated: bool) -> None:
    """Arcs of all other preconditions, to the passing of their instructions."""
    kind, known = guards.kind, guards.other != NONE
    rows = np.flatnonzero(known & (kind >= POSTED) & (kind <= SLOT))
    posted = guards.posted[rows]
    to = arrival[guards.instruction[rows]] + 1
    arcs.add(posts.event[posted], to, posts.delay[posted] + _transfers(guards, rows, timing), _tokens(guards, rows))
    met = np.flatnonzero(known & ((kind == BARRIER) | ((kind == CONNECTION) & (not repeated))))
    arcs.add(arrival[guards.other[met]], arrival[guards.instruction[met]] + 1, 0)
    seen = np.flatnonzero(known & (kind == PROBE))
    posted = guards.posted[seen]
    arcs.add(posts.event[posted], arrival[guards.instruction[seen]] + 1, posts.delay[posted] + timing.latency)


def _transfers(guards: Guards, rows: Ints, timing: Timing) -> Ints:
    """By row of a message to be complete: the ticks from what is waited for until it is.

    A message that is stored starts when its slot is free, any other when both ends are posted; see `Timing`.
    """
    columns, message = guards.columns, guards.message[rows]
    sends = columns.sends[message]
    send = np.where(sends, message, guards.partner[message])
    meets = (send == NONE) | (guards.slot[send] == RENDEZVOUS)
    early = meets & columns.early[message] & (guards.instruction[rows] == columns.at[message])
    over = np.where(sends, 0, timing.overhead)
    arrival = np.where(early, 0, timing.wire(columns.nbytes[send]) + over)
    weights: Ints = np.where(meets | (~sends & (guards.kind[rows] != POSTED)), arrival, over)
    return weights


def _tokens(guards: Guards, rows: Ints) -> Ints | int:
    """By row, how many rounds before the slot was freed."""
    if not guards.lag.any():
        return 0
    message = guards.message[rows]
    send = np.where(guards.columns.sends[message], message, guards.partner[message])
    tokens: Ints = np.where(guards.kind[rows] == SLOT, guards.lag[send], 0)
    return tokens


def _space(arcs: _Arcs, columns: Columns, posted: Ints, thread: Ints, timing: Timing, *, repeated: bool) -> None:
    """Sends of a thread are posted apart."""
    sends = np.flatnonzero(columns.sends)
    sends = sends[np.argsort(columns.at[sends], kind="stable")]
    own = thread[columns.at[sends]]
    first = np.flatnonzero(np.diff(own, prepend=-1))
    last = np.append(first[1:], len(sends))[: len(first)] - 1
    before = np.delete(np.arange(len(sends)), last) if len(sends) else sends
    arcs.add(posted[sends[before]], posted[sends[before + 1]], timing.spacing(columns.nbytes[sends[before]]))
    if repeated:
        ends, starts = sends[last], sends[first]
        arcs.add(posted[ends], posted[starts], timing.spacing(columns.nbytes[ends]), 1)
