"""The inner loops of `simulator`, compiled by numba; compiled code is cached on disk.

Shapes of arrays: by thread (threads,), by instruction (instructions,), by message (messages,); `starts` and the like
(count + 1,), so that entry k has the values starts[k] to starts[k + 1] - 1. Times are ticks, NEVER for what does not
happen; indices are NONE where there is none. What a thread may wait for has one number: the post of message m has m,
the passing of instruction i has messages + i, the arrival at it messages + instructions + i.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import NamedTuple

import numba
import numpy as np
from numba.typed import Dict

from model.events.event_graph import NEVER
from model.semantics.arrays import NONE, Bools, Ints
from model.semantics.buffer_slots import RENDEZVOUS

UNANSWERED = -2
"""Of `Code.probes`: a probe that no send lets pass; NONE: no probe."""


class Code(NamedTuple):
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


class Ends(NamedTuple):
    """By message, as in `Columns`; partner and slot as `partners` and `freeing_receives` give them; wires: ticks from
    its start to its arrival; spacing: from its post to the next of its thread."""

    sends: Bools
    blocking: Bools
    early: Bools
    partner: Ints
    slot: Ints
    wires: Ints
    spacing: Ints


class Times(NamedTuple):
    """What has happened so far. arrived, passed: by instruction. posted: by message. free: by thread, when it may post
    its next send."""

    arrived: Ints
    passed: Ints
    posted: Ints
    free: Ints


class Queues(NamedTuple):
    """Lists of threads. waiter: by what is waited for, the first that waits; following: by thread, the next in its
    list. beside: by thread, the next that is due at the same time. due: a stack of those to be looked at now."""

    waiter: Ints
    following: Ints
    beside: Ints
    due: Ints


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
def _pass_time(i: int, when: int, code: Code, ends: Ends, times: Times, overhead: int, latency: int) -> tuple[int, int]:
    """(when instruction i passes, NONE), or (NEVER, what must happen first; NONE where that never does).

    It posts nothing, and was handed over at `when`.
    """
    when = max(when, times.arrived[i] + code.seconds[i])
    probe = code.probes[i]
    if code.absent[i] or probe == UNANSWERED:
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
def run_events(code: Code, ends: Ends, times: Times, queues: Queues, overhead: int, latency: int) -> int:
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
