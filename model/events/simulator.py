"""A discrete-event simulation of a program with durations: what every rank does when.

It steps through time with a heap of events, where the event graph takes longest paths; on the same input both
give every instruction the same times, to the last tick. What things take is told in `timing`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

import numba
import numpy as np
from numba.typed import Dict

from model.display.shown import Shown
from model.events.build import RENDEZVOUS, partners, rooms
from model.events.event_graph import NEVER
from model.events.timing import UNIT, Timing
from model.semantics.arrays import NONE, Bools, Ints
from model.semantics.columns import Columns

_SILENT = -2  # a probe that nothing answers; NONE: no probe


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


def simulate(given: Columns, timing: Timing = UNIT) -> Simulation:
    """Run a program, every rank as fast as its library lets it."""
    partner = partners(given)
    room, _ = rooms(given, partner, repeated=False)
    instructions, messages = len(given.index), len(given.at)
    wires = np.zeros(messages, dtype=np.int64)
    wires[given.sends] = timing.wire(given.nbytes[given.sends])
    met = partner != NONE
    wires[~given.sends & met] = wires[partner[~given.sends & met]]
    posts = np.full(instructions, NONE, dtype=np.int64)
    posts[given.at] = np.arange(messages)
    probes = np.full(instructions, NONE, dtype=np.int64)
    probes[given.probes[:, 0]] = np.where(given.probes[:, 1] == NONE, _SILENT, given.probes[:, 1])
    absent = np.zeros(instructions, dtype=np.bool_)
    absent[given.absent] = True
    meetings = np.concatenate((given.meets, given.connects))
    arrived, passed, posted, events = _simulate(
        given.starts,
        given.after,
        timing.ticks(given.seconds),
        posts,
        probes,
        absent,
        *_grouped(given.awaits, instructions),
        *_grouped(meetings, instructions),
        given.sends,
        given.blocking,
        given.early,
        partner,
        room,
        wires,
        timing.spacing(given.nbytes),
        timing.gap > 0,
        timing.overhead,
        timing.latency,
    )
    return Simulation(columns=given, arrived=arrived, passed=passed, posted=posted, events=int(events))


def _grouped(pairs: Ints, count: int) -> tuple[Ints, Ints]:
    """(starts, values): the second column of the pairs, by the first."""
    order = np.argsort(pairs[:, 0], kind="stable")
    starts = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.bincount(pairs[:, 0], minlength=count), out=starts[1:])
    return starts, pairs[order, 1]


@numba.njit(cache=True)
def _over(
    m: int,
    posted: Ints,
    sends: Bools,
    partner: Ints,
    room: Ints,
    wires: Ints,
    early: bool,
    overhead: int,
) -> tuple[int, int]:
    """(when message m is over, NONE), or (NEVER, the message that must be posted first; NONE where it never is)."""
    s, r = (m, partner[m]) if sends[m] else (partner[m], m)
    how = RENDEZVOUS if s == NONE else room[s]
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
def _put_off(times: list[np.int64], first: dict[np.int64, np.int64], beside: Ints, when: int, thread: int) -> None:
    """Looks at a thread again at a later time."""
    due = np.int64(when)
    if due in first:
        beside[thread] = first[due]
    else:
        heappush(times, due)
        beside[thread] = NONE
    first[due] = np.int64(thread)


@numba.njit(cache=True)
def _simulate(
    starts: Ints,
    after: Ints,
    seconds: Ints,
    posts: Ints,
    probes: Ints,
    absent: Bools,
    await_starts: Ints,
    awaits: Ints,
    meet_starts: Ints,
    meets: Ints,
    sends: Bools,
    blocking: Bools,
    early: Bools,
    partner: Ints,
    room: Ints,
    wires: Ints,
    spacing: Ints,
    spaced: bool,
    overhead: int,
    latency: int,
) -> tuple[Ints, Ints, Ints, int]:
    threads, instructions, messages = len(starts) - 1, len(posts), len(sends)
    arrived = np.full(instructions, NEVER, dtype=np.int64)
    passed = np.full(instructions, NEVER, dtype=np.int64)
    posted = np.full(messages, NEVER, dtype=np.int64)
    at = starts[:-1].copy()
    met, queued = len(meets) > 0, bool((after != NONE).any())
    free = np.zeros(threads, dtype=np.int64)  # when the thread may post its next send
    # who waits for what: a post (0 to messages - 1), a passing, an arrival; each thread for one thing at a time
    waiter = np.full(messages + 2 * instructions, NONE, dtype=np.int64)
    following = np.full(threads, NONE, dtype=np.int64)
    # what is not yet due: a heap of times, and for each time its threads as a list through `beside`
    times = [np.int64(0)]
    times.clear()
    first = Dict.empty(numba.int64, numba.int64)
    beside = np.full(threads, NONE, dtype=np.int64)
    due = np.empty(threads, dtype=np.int64)  # threads to be looked at now
    for thread in range(threads):
        due[thread] = threads - 1 - thread
    filled, now, events = threads, 0, 0
    while True:
        if filled == 0:
            if len(times) == 0:
                return arrived, passed, posted, events
            now = int(heappop(times))
            other = first[now]
            del first[now]
            while other != NONE:
                due[filled] = other
                filled += 1
                other = beside[other]
        filled -= 1
        thread = due[filled]
        while at[thread] < starts[thread + 1]:  # as far as the thread gets now
            i = at[thread]
            if arrived[i] == NEVER:
                arrived[i] = now
                events += 1
                if met:
                    filled = _wake(messages + instructions + i, waiter, following, due, filled)
            m = posts[i]
            need, when = NONE, arrived[i]
            if after[i] != NONE:
                if passed[after[i]] == NEVER:
                    need = messages + after[i]
                else:
                    when = max(when, passed[after[i]])
            if need == NONE and m != NONE and posted[m] == NEVER:
                if sends[m]:
                    when = max(when, arrived[i] + overhead)
                    if spaced:
                        when = max(when, free[thread])
                if when > now:
                    _put_off(times, first, beside, when, thread)
                    break
                posted[m] = now
                events += 1
                if sends[m]:
                    free[thread] = now + spacing[m]
                filled = _wake(m, waiter, following, due, filled)
            if need == NONE and m != NONE:
                when = posted[m]
                if blocking[m]:
                    when, need = _over(m, posted, sends, partner, room, wires, early[m], overhead)
                    if when == NEVER and need == NONE:
                        break  # for ever
            elif need == NONE:
                when = max(when, arrived[i] + seconds[i])
                if absent[i] or probes[i] == _SILENT:
                    break
                if probes[i] != NONE:
                    if posted[probes[i]] == NEVER:
                        need = probes[i]
                    else:
                        when = max(when, posted[probes[i]] + latency)
                stuck = False
                for k in range(await_starts[i], await_starts[i + 1]):
                    over, need = _over(awaits[k], posted, sends, partner, room, wires, False, overhead)
                    if over == NEVER:
                        stuck = need == NONE
                        break
                    when = max(when, over)
                if stuck:
                    break
                for k in range(meet_starts[i], meet_starts[i + 1]):
                    if need == NONE and arrived[meets[k]] == NEVER:
                        need = messages + instructions + meets[k]
                    elif arrived[meets[k]] != NEVER:
                        when = max(when, arrived[meets[k]])
            if need != NONE:
                following[thread] = waiter[need]
                waiter[need] = thread
                break
            if when > now:
                _put_off(times, first, beside, when, thread)
                break
            passed[i] = now
            events += 1
            if queued:
                filled = _wake(messages + i, waiter, following, due, filled)
            at[thread] += 1
