"""A discrete-event simulation of a program with durations: what every rank does when.

It steps through time with a heap of events, where the event graph takes longest paths; on the same input both
give every instruction the same times, to the last tick. What things take is told in `timing`. It is a second opinion
on purpose: of the core it reads the columns and which messages match, and says for itself, as it goes, what an
instruction waits for; it knows nothing of `guards`.

Shapes of arrays: by thread (threads,), by instruction (instructions,), by message (messages,); `starts` and the like
(count + 1,), so that entry k has the values starts[k] to starts[k + 1] - 1. Times are ticks, NEVER for what does not
happen; indices are NONE where there is none. What a thread may wait for has one number: the post of message m has m,
the passing of instruction i has messages + i, the arrival at it messages + instructions + i.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any, NamedTuple

import numba
import numpy as np
from numba.typed import Dict

from model.display.shown import Shown
from model.events.event_graph import NEVER
from model.events.timing import UNIT, Timing
from model.semantics.arrays import NONE, Bools, Ints
from model.semantics.buffer_slots import RENDEZVOUS, buffer_slots
from model.semantics.columns import Columns
from model.semantics.matching import partners, probed_sends

_UNANSWERED = -2  # a probe that no send lets pass; NONE: no probe


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation(Shown):
    """What happened, in ticks; NEVER for what did not. arrived, passed: by instruction. posted: by message.

    events: how many were simulated: an arrival and a passing of every instruction, a post of every message.
    """

    columns: Columns
    arrived: Ints
    passed: Ints
    posted: Ints
    events: int

    @property
    def hangs(self) -> bool:
        """Whether some thread does not come to its end."""
        return bool((self.passed == NEVER).any())

    @property
    def makespan(self) -> int | None:
        """Ticks until the last rank is at its end; None where it hangs."""
        return None if self.hangs else int(self.passed.max(initial=0))

    def _lines(self) -> Iterator[str]:
        if self.hangs:
            yield f"it hangs, after {self.events} events"
        else:
            yield f"makespan: {self.makespan} ticks, {self.events} events"

    def _table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        columns = self.columns
        times = ([None if time == NEVER else time for time in found.tolist()] for found in (self.arrived, self.passed))
        rows = zip(columns.rank_of[columns.thread_of()].tolist(), columns.index.tolist(), *times, strict=True)
        return ("rank", "index", "arrived", "passed"), list(rows)


class _Code(NamedTuple):
    """starts: by thread. after, seconds (in ticks), posts (the message that is posted), probes (the send that answers),
    absent (waits for a rank that never comes): by instruction. awaits, meets: grouped by instruction."""

    starts: Ints
    after: Ints
    seconds: Ints
    posts: Ints
    probes: Ints
    absent: Bools
    await_starts: Ints
    awaits: Ints
    meet_starts: Ints
    meets: Ints


class _Ends(NamedTuple):
    """By message, as in `Columns`; partner and slot as `matching` and `buffer_slots` give them; wires: ticks from its
    start to its arrival; spacing: from its post to the next of its thread."""

    sends: Bools
    blocking: Bools
    early: Bools
    partner: Ints
    slot: Ints
    wires: Ints
    spacing: Ints


class _Times(NamedTuple):
    """What has happened so far. arrived, passed: by instruction. posted: by message. free: by thread, when it may post
    its next send."""

    arrived: Ints
    passed: Ints
    posted: Ints
    free: Ints


class _Queues(NamedTuple):
    """Lists of threads. waiter: by what is waited for, the first that waits; following: by thread, the next in its
    list. beside: by thread, the next that is due at the same time. due: a stack of those to be looked at now."""

    waiter: Ints
    following: Ints
    beside: Ints
    due: Ints


def simulate(columns: Columns, timing: Timing = UNIT) -> Simulation:
    """Run a program, every rank as fast as its library lets it.

    Raises ValueError where a probe passes by any of several sends.
    """
    partner = partners(columns)
    slot, _ = buffer_slots(columns, partner)
    wires = np.zeros(len(columns.at), dtype=np.int64)
    wires[columns.sends] = timing.wire(columns.nbytes[columns.sends])
    met = partner != NONE
    wires[~columns.sends & met] = wires[partner[~columns.sends & met]]
    ends = _Ends(columns.sends, columns.blocking, columns.early, partner, slot, wires, timing.spacing(columns.nbytes))
    threads, instructions, messages = len(columns.rank_of), len(columns.index), len(columns.at)
    times = _Times(
        np.full(instructions, NEVER, dtype=np.int64),
        np.full(instructions, NEVER, dtype=np.int64),
        np.full(messages, NEVER, dtype=np.int64),
        np.zeros(threads, dtype=np.int64),
    )
    queues = _Queues(
        np.full(messages + 2 * instructions, NONE, dtype=np.int64),
        np.full(threads, NONE, dtype=np.int64),
        np.full(threads, NONE, dtype=np.int64),
        np.arange(threads - 1, -1, -1),
    )
    events = _simulate(_code(columns, timing), ends, times, queues, timing.overhead, timing.latency)
    return Simulation(
        columns=columns, arrived=times.arrived, passed=times.passed, posted=times.posted, events=int(events)
    )


def _code(columns: Columns, timing: Timing) -> _Code:
    count = len(columns.index)
    posts = np.full(count, NONE, dtype=np.int64)
    posts[columns.at] = np.arange(len(columns.at))
    probes = np.full(count, NONE, dtype=np.int64)
    for probe, send, _ in probed_sends(columns):
        if probes[probe] != NONE:
            raise ValueError("a wildcard probe passes by any of several sends: no one simulation says when")
        probes[probe] = _UNANSWERED if send == NONE else send
    absent = np.zeros(count, dtype=np.bool_)
    absent[columns.absent[:, 0]] = True
    return _Code(
        columns.starts,
        columns.after,
        timing.ticks(columns.seconds),
        posts,
        probes,
        absent,
        *_grouped(columns.awaits, count),
        *_grouped(np.concatenate((columns.meets, columns.connects)), count),
    )


def _grouped(pairs: Ints, count: int) -> tuple[Ints, Ints]:
    """(starts, values): the second column of the pairs, by the first."""
    order = np.argsort(pairs[:, 0], kind="stable")
    starts = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.bincount(pairs[:, 0], minlength=count), out=starts[1:])
    return starts, pairs[order, 1]


@numba.njit(cache=True)
def _over(
    m: int, posted: Ints, sends: Bools, partner: Ints, slot: Ints, wires: Ints, early: bool, overhead: int
) -> tuple[int, int]:
    """(when message m is over, NONE), or (NEVER, the message that must be posted first; NONE where it never is)."""
    s, r = (m, partner[m]) if sends[m] else (partner[m], m)
    how = RENDEZVOUS if s == NONE else slot[s]
    if how == RENDEZVOUS and (s == NONE or r == NONE):
        return NEVER, NONE
    if posted[s] == NEVER:
        return NEVER, s
    start = posted[s]
    if how >= 0:
        if posted[how] == NEVER:
            return NEVER, how
        start = max(start, posted[how])
    if how != RENDEZVOUS and sends[m]:
        return start, NONE
    if posted[r] == NEVER:
        return NEVER, r
    over = 0 if sends[m] else overhead
    if how == RENDEZVOUS:
        return max(start, posted[r]) + (0 if early else wires[m] + over), NONE
    return max(start + wires[m], posted[r]) + over, NONE


@numba.njit(cache=True)
def _pass_time(
    i: int, when: int, code: _Code, ends: _Ends, times: _Times, overhead: int, latency: int
) -> tuple[int, int]:
    """(when instruction i passes, NONE), or (NEVER, what must happen first; NONE where that never does).

    It posts nothing, and was handed over at `when`.
    """
    when = max(when, times.arrived[i] + code.seconds[i])
    probe = code.probes[i]
    if code.absent[i] or probe == _UNANSWERED:
        return NEVER, NONE
    if probe != NONE:
        if times.posted[probe] == NEVER:
            return NEVER, probe
        when = max(when, times.posted[probe] + latency)
    sends, _, _, partner, slot, wires, _ = ends
    for k in range(code.await_starts[i], code.await_starts[i + 1]):
        over, need = _over(code.awaits[k], times.posted, sends, partner, slot, wires, False, overhead)
        if over == NEVER:
            return NEVER, need
        when = max(when, over)
    for k in range(code.meet_starts[i], code.meet_starts[i + 1]):
        arrived = times.arrived[code.meets[k]]
        if arrived == NEVER:
            return NEVER, len(times.posted) + len(times.passed) + code.meets[k]
        when = max(when, arrived)
    return when, NONE


@numba.njit(cache=True)
def _wake(what: int, waiter: Ints, following: Ints, due: Ints, filled: int) -> int:
    """Puts those that wait for it on the stack of threads to be looked at now; its new height."""
    other = waiter[what]
    waiter[what] = NONE
    while other != NONE:
        due[filled] = other
        filled += 1
        other = following[other]
    return filled


@numba.njit(cache=True)
def _put_off(heap: list[np.int64], first: dict[np.int64, np.int64], beside: Ints, when: int, thread: int) -> None:
    """Looks at a thread again at a later time."""
    due = np.int64(when)
    if due in first:
        beside[thread] = first[due]
    else:
        heappush(heap, due)
        beside[thread] = NONE
    first[due] = np.int64(thread)


@numba.njit(cache=True)
def _next_due(heap: list[np.int64], first: dict[np.int64, np.int64], beside: Ints, due: Ints) -> tuple[np.int64, int]:
    """The earliest time to come, whose threads go on the empty stack, and its height."""
    now, filled = heappop(heap), 0
    other = first[now]
    del first[now]
    while other != NONE:
        due[filled] = other
        filled += 1
        other = beside[other]
    return now, filled


@numba.njit(cache=True)
def _simulate(code: _Code, ends: _Ends, times: _Times, queues: _Queues, overhead: int, latency: int) -> int:
    """Fills `times`: looks at every thread that is due, at one time after another, until none is. Gives the events."""
    starts, after, _, posts, _, _, _, _, _, meets = code
    sends, blocking, early, partner, slot, wires, spacing = ends
    arrived, passed, posted, free = times
    waiter, following, beside, due = queues
    at, messages, instructions = starts[:-1].copy(), len(posted), len(passed)
    met, queued = len(meets) > 0, bool((after != NONE).any())
    heap = [np.int64(0)]  # the times that are to come; `first`: for each the first of its threads
    heap.clear()
    first = Dict.empty(numba.int64, numba.int64)
    filled, now, events = len(due), np.int64(0), 0
    while filled > 0 or len(heap) > 0:
        if filled == 0:
            now, filled = _next_due(heap, first, beside, due)
        filled -= 1
        thread = due[filled]
        while at[thread] < starts[thread + 1]:  # as far as the thread gets now
            i = at[thread]
            m = posts[i]
            if arrived[i] == NEVER:
                arrived[i] = now
                events += 1
                if met:
                    filled = _wake(messages + instructions + i, waiter, following, due, filled)
            need, when = NONE, arrived[i]
            if after[i] != NONE:
                when = max(when, passed[after[i]])
                need = messages + after[i] if passed[after[i]] == NEVER else NONE
            if need == NONE and m != NONE and posted[m] == NEVER:
                if sends[m]:
                    when = max(when, arrived[i] + overhead, free[thread])
                if when > now:
                    _put_off(heap, first, beside, when, thread)
                    break
                posted[m] = now
                events += 1
                if sends[m]:
                    free[thread] = now + spacing[m]
                filled = _wake(m, waiter, following, due, filled)
            if need == NONE:
                if m == NONE:
                    when, need = _pass_time(i, when, code, ends, times, overhead, latency)
                elif blocking[m]:
                    when, need = _over(m, posted, sends, partner, slot, wires, early[m], overhead)
                else:
                    when = posted[m]
            if need != NONE:
                following[thread] = waiter[need]
                waiter[need] = thread
                break
            if when == NEVER:
                break
            if when > now:
                _put_off(heap, first, beside, when, thread)
                break
            passed[i] = now
            events += 1
            if queued:
                filled = _wake(messages + i, waiter, following, due, filled)
            at[thread] += 1
    return events
