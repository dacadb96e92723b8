"""From the columns of a program to its event graph: every semantics as arcs.

Events are the places of every thread: event `place` of an instruction is that its thread comes to it, the next
one that it is passed. Blocking messages that are held up have one more event, their post. Which earlier receive
makes room for a send that is stored in a bounded buffer does not depend on the schedule: the posts of a channel
are in order at both ends, so the room is there at one certain post.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from model.events.event_graph import EventGraph
from model.events.timing import UNIT, Timing
from model.semantics.arrays import NONE, Bools, Ints
from model.semantics.columns import Columns

ALWAYS, RENDEZVOUS = -2, -1
"""Of a send: stored at once; never stored before its receive is posted. Else: the receive that makes room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The event graph of a program, and what its events mean.

    place: by instruction, the event that its thread comes to it. thread: by event. posted: by message, its post.
    partner: by message, the one it meets or NONE. room: by message, `ALWAYS`, `RENDEZVOUS` or a receive.
    """

    columns: Columns
    graph: EventGraph
    place: Ints
    thread: Ints
    posted: Ints
    partner: Ints
    room: Ints

    def instruction(self, event: int) -> int | None:
        """The instruction that a thread passes at this event, or is held up in at a post; None at a thread's first."""
        first = len(self.columns.starts) - 1 + len(self.columns.index)
        if event >= first:
            return int(self.columns.at[np.flatnonzero(self.posted == event)[0]])
        thread = int(self.thread[event])
        before = event - thread - 1
        return before if before >= self.columns.starts[thread] else None


def build_graph(columns: Columns, timing: Timing = UNIT, *, repeated: bool = False) -> Built:
    """The event graph of one run, or with `repeated` of the program repeated for ever, connections made.

    Raises ValueError where a repeated program leaves messages over in each round.
    """
    partner = partners(columns)
    if repeated and (partner == NONE).any():
        odd = int(np.flatnonzero(partner == NONE)[0])
        raise ValueError(
            f"rank {columns.owner[odd]} has a message with rank {columns.peer[odd]} that is left over in every round; "
            "repeat a program whose sends and receives are equal in number"
        )
    room, lag = rooms(columns, partner, repeated=repeated)
    thread = columns.thread_of()
    place = np.arange(len(thread)) + thread
    nodes = len(thread) + len(columns.rank_of)
    arcs = _Arcs()
    overhead = timing.overhead

    posts = np.zeros(len(thread), dtype=np.bool_)
    posts[columns.at] = True
    free = ~posts
    free[columns.at] = ~columns.blocking
    # passing an instruction
    duration = timing.ticks(columns.seconds)
    sending = columns.at[columns.sends & ~columns.blocking]
    duration[sending] = overhead
    arcs.add(place, place + 1, duration)
    held = np.flatnonzero((columns.after != NONE) & free)
    arcs.add(place[columns.after[held]] + 1, place[held] + 1, 0)
    # posting a message
    spaced = timing.gap > 0
    apart = columns.blocking & ((columns.after[columns.at] != NONE) | (columns.sends & spaced))
    posted = np.where(columns.blocking, place[columns.at], place[columns.at] + 1)
    posted[apart] = nodes + np.arange(np.count_nonzero(apart))
    delay = np.where(columns.blocking & columns.sends & ~apart, overhead, 0)
    late = np.flatnonzero(apart)
    arcs.add(place[columns.at[late]], posted[late], np.where(columns.sends[late], overhead, 0))
    arcs.add(posted[late], place[columns.at[late]] + 1, 0)
    after = columns.after[columns.at[late]]
    arcs.add(place[after[after != NONE]] + 1, posted[late[after != NONE]], 0)
    events = nodes + len(late)
    if spaced:
        _space(arcs, columns, posted, thread, timing, repeated=repeated)
    # completing a message
    wires = np.zeros(len(columns.at), dtype=np.int64)
    wires[columns.sends] = timing.wire(columns.nbytes[columns.sends])
    met = partner != NONE
    wires[~columns.sends & met] = wires[partner[~columns.sends & met]]
    blocked = np.flatnonzero(columns.blocking)
    message = np.concatenate((blocked, columns.awaits[:, 1]))
    target = np.concatenate((place[columns.at[blocked]] + 1, place[columns.awaits[:, 0]] + 1))
    early = np.concatenate((columns.early[blocked], np.zeros(len(columns.awaits), dtype=np.bool_)))
    missing = _complete(arcs, columns, partner, room, lag, posted, delay, wires, message, target, early, overhead)
    # hosts that meet, and probes
    for pairs in (columns.meets,) if repeated else (columns.meets, columns.connects):
        arcs.add(place[pairs[:, 1]], place[pairs[:, 0]] + 1, 0)
    answered = columns.probes[columns.probes[:, 1] != NONE]
    arcs.add(posted[answered[:, 1]], place[answered[:, 0]] + 1, delay[answered[:, 1]] + timing.latency)
    silent = columns.probes[columns.probes[:, 1] == NONE, 0]
    if repeated:
        ends = columns.starts[1:] + np.arange(len(columns.rank_of))
        arcs.add(ends, columns.starts[:-1] + np.arange(len(columns.rank_of)), 0, 1)

    threads = np.concatenate(
        (np.repeat(np.arange(len(columns.rank_of)), np.diff(columns.starts) + 1), thread[columns.at[late]])
    )
    lost = [missing, place[silent] + 1] + ([] if repeated else [place[columns.absent] + 1])
    graph = arcs.graph(events, columns.rank_of[threads], np.unique(np.concatenate(lost)))
    return Built(columns=columns, graph=graph, place=place, thread=threads, posted=posted, partner=partner, room=room)


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


def _complete(
    arcs: _Arcs,
    columns: Columns,
    partner: Ints,
    room: Ints,
    lag: Ints,
    posted: Ints,
    delay: Ints,
    wires: Ints,
    message: Ints,
    target: Ints,
    early: Bools,
    overhead: int,
) -> Ints:
    """Arcs to the events `target` at which each of `message` must be complete; gives those that never are."""
    missing = []
    send = np.where(columns.sends[message], message, partner[message])
    recv = np.where(columns.sends[message], partner[message], message)
    how = np.where(send == NONE, RENDEZVOUS, room[send])
    for sends in (True, False):
        mine = columns.sends[message] == sends
        over = 0 if sends else overhead
        for kind in (ALWAYS, RENDEZVOUS, 0):
            these = np.flatnonzero(mine & ((how >= 0) if kind == 0 else (how == kind)))
            if kind == RENDEZVOUS:
                alone = (send[these] == NONE) | (recv[these] == NONE)
                missing.append(target[these[alone]])
                these = these[~alone]
            s, r, to = send[these], recv[these], target[these]
            arrives = wires[message[these]] + over
            if kind == RENDEZVOUS:
                arrives = np.where(early[these], 0, arrives)
                arcs.add(posted[s], to, delay[s] + arrives)
                arcs.add(posted[r], to, arrives)
                continue
            wait = np.zeros_like(arrives) if sends else arrives
            arcs.add(posted[s], to, delay[s] + wait)
            if kind == 0:
                arcs.add(posted[how[these]], to, wait, lag[s])
            if not sends:
                arcs.add(posted[r], to, over)
    return np.concatenate(missing)


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


def partners(columns: Columns) -> Ints:
    """By message the one it meets, or NONE: the n-th send of a class meets its n-th receive (statement 1)."""
    partner = np.full(len(columns.at), NONE, dtype=np.int64)
    if not len(partner):
        return partner
    kind = _classes(columns, tags=True)
    order = np.lexsort((columns.sends, kind))  # stable: messages of a class are numbered in the order of their posts
    change = np.diff(kind[order], prepend=-1).astype(np.bool_) | np.diff(columns.sends[order], prepend=False).astype(
        np.bool_
    )
    change[0] = True
    starts = np.flatnonzero(change)
    nth = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    sends = columns.sends[order]
    key = kind[order] * (nth.max() + 1) + nth
    _, mine, theirs = np.intersect1d(key[sends], key[~sends], assume_unique=True, return_indices=True)
    send, recv = order[sends][mine], order[~sends][theirs]
    partner[send], partner[recv] = recv, send
    return partner


def _classes(columns: Columns, *, tags: bool) -> Ints:
    """By message a number of its communicator, source, destination and, with `tags`, tag."""
    source, target = (
        np.where(columns.sends, columns.owner, columns.peer),
        np.where(columns.sends, columns.peer, columns.owner),
    )
    tag = np.unique(columns.tag, return_inverse=True)[1] if tags else np.zeros_like(columns.tag)
    wide = ((columns.comm * (int(tag.max()) + 1) + tag) * columns.ranks + source) * columns.ranks + target
    assert (int(columns.comm.max()) + 1) * (int(tag.max()) + 1) * columns.ranks**2 < 2**62
    numbers: Ints = np.unique(wide, return_inverse=True)[1]
    return numbers


def rooms(columns: Columns, partner: Ints, *, repeated: bool) -> tuple[Ints, Ints]:
    """By send `ALWAYS`, `RENDEZVOUS` or the receive whose post makes room, and how many rounds before that is."""
    room = np.full(len(columns.at), RENDEZVOUS, dtype=np.int64)
    lag = np.zeros(len(columns.at), dtype=np.int64)
    room[columns.always] = ALWAYS
    bounded = columns.sends & ((columns.capacity > 0) | (columns.fifo > 0))
    if not bounded.any():
        return room, lag
    kind = _classes(columns, tags=False)
    sends = np.flatnonzero(columns.sends & np.isin(kind, kind[bounded]))
    sends = sends[np.argsort(kind[sends], kind="stable")]
    starts = np.flatnonzero(np.diff(kind[sends], prepend=-1))
    lengths = np.diff(np.append(starts, len(sends)))
    waiting = np.arange(len(sends)) - np.repeat(starts, lengths)
    total = np.cumsum(columns.nbytes[sends])
    total -= np.repeat((total - columns.nbytes[sends])[starts], lengths)  # of the channel, up to and with this send
    fits = (waiting < columns.capacity[sends]) | (total <= columns.fifo[sends])
    if not repeated:  # even if nothing was received
        room[sends[fits & bounded[sends]]] = ALWAYS
    for place in np.flatnonzero(bounded[sends] & (room[sends] != ALWAYS)).tolist():
        first = place - int(waiting[place])
        channel = sends[first : first + int(lengths[np.searchsorted(starts, place, side="right") - 1])]
        room[sends[place]], lag[sends[place]] = _room(columns, partner, channel, place - first, repeated=repeated)
    return room, lag


def _room(columns: Columns, partner: Ints, channel: Ints, number: int, *, repeated: bool) -> tuple[int, int]:
    """Of one send of a channel: the latest receive without which its room is taken, from the latest backwards."""
    send, earlier = int(channel[number]), channel[:number]
    nbytes, capacity, fifo = int(columns.nbytes[send]), int(columns.capacity[send]), int(columns.fifo[send])
    lost = earlier[partner[earlier] == NONE]
    count, size = len(lost), int(columns.nbytes[lost].sum())
    if not (count < capacity or size + nbytes <= fifo):
        return RENDEZVOUS, 0
    for lag in itertools.count():
        before = partner[channel if lag else earlier]
        for recv in np.sort(before[before != NONE])[::-1].tolist():
            count, size = count + 1, size + int(columns.nbytes[partner[recv]])
            if not (count < capacity or size + nbytes <= fifo):
                sooner = lag == 0 and NONE != partner[send] < recv  # its own receive is posted before there is room
                return (RENDEZVOUS, 0) if sooner else (recv, lag)
        if not repeated or (fifo and not columns.nbytes[channel].any()):
            break
    return ALWAYS, 0
