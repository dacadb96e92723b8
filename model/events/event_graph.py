"""The event graph (theory, "Frame"): one object that decides liveness, makespan and period.

A timed marked graph: an arc says that its head happens no sooner than its weight after its tail, `tokens`
rounds earlier. Without tokens it is one run. It is live iff every circuit carries a token (Commoner, Holt,
Even, Pnueli 1971), its makespan is the longest path of arcs without tokens, and its period, when what it
describes is repeated for ever, the maximum cycle ratio. Everything but the shortest circuit is linear in arcs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from model.events.cycle_ratio import Critical, maximum_cycle_ratio

Ints = NDArray[np.int64]

NEVER = -1
"""The time of an event that does not happen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventGraph:
    """Events 0 to `events` - 1, and arcs as columns of equal length.

    weights: ticks, 0 or more. tokens: rounds, 0 inside a round. costs: how much an arc counts in the length
    of a circuit, 0 or 1. missing: events that wait for something that no event brings.
    """

    events: int
    tails: Ints
    heads: Ints
    weights: Ints
    tokens: Ints
    costs: Ints
    missing: Ints

    def run(self) -> Ints:
        """The time in ticks of every event of one round, each as early as possible; NEVER for those that cannot be."""
        inside = self.tokens == 0
        starts, order = _by(self.tails[inside], self.events)
        heads, weights = self.heads[inside][order], self.weights[inside][order]
        times: Ints = _run(starts, heads, weights, self.missing)
        return times

    def critical(self) -> Critical | None:
        """A circuit of greatest weight per token: the period when repeated for ever. None without a circuit."""
        return maximum_cycle_ratio(self.events, self.tails, self.heads, self.weights, self.tokens)

    def dead_circuit(self, times: Ints) -> tuple[int, ...]:
        """A circuit without tokens of the least cost: the indices of its arcs, each starting where the last ends.

        Empty where there is none: then every event that does not happen waits for one of `missing`.
        """
        arcs = np.flatnonzero((self.tokens == 0) & (times[self.tails] == NEVER) & (times[self.heads] == NEVER))
        if not len(arcs):
            return ()
        used, ends = np.unique(np.concatenate((self.tails[arcs], self.heads[arcs])), return_inverse=True)
        tails, heads = ends[: len(arcs)].astype(np.int64), ends[len(arcs) :].astype(np.int64)
        into, back = _by(heads, len(used))
        out, forth = _by(tails, len(used))
        found = _shortest(into, tails[back], heads[back], self.costs[arcs][back], out, heads[forth])
        found = back[found]
        return tuple(arcs[found].tolist())

    def chain(self, times: Ints, event: int) -> tuple[int, ...]:
        """Arcs from an event that does not happen back to one of `missing`, nearest first; empty at such an event."""
        missing = set(self.missing.tolist())
        arcs = np.flatnonzero((self.tokens == 0) & (times[self.tails] == NEVER))
        starts, order = _by(self.heads[arcs], self.events)
        parents: dict[int, int] = {event: -1}
        queue = [event]
        for at in queue:
            if at in missing:
                path = []
                while parents[at] >= 0:
                    path.append(parents[at])
                    at = int(self.heads[parents[at]])
                return tuple(reversed(path))
            for arc in arcs[order[starts[at] : starts[at + 1]]].tolist():
                before = int(self.tails[arc])
                if before not in parents:
                    parents[before] = arc
                    queue.append(before)
        return ()


def _by(vertices: Ints, count: int) -> tuple[Ints, Ints]:
    """(starts, order): the arcs order[starts[v]:starts[v + 1]] are those whose entry in `vertices` is v."""
    starts = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.bincount(vertices, minlength=count), out=starts[1:])
    order: Ints = _sorted_by(vertices, starts.copy())
    return starts, order


@numba.njit(cache=True)
def _sorted_by(vertices: Ints, places: Ints) -> Ints:
    order = np.empty(len(vertices), dtype=np.int64)
    for arc in range(len(vertices)):
        order[places[vertices[arc]]] = arc
        places[vertices[arc]] += 1
    return order


@numba.njit(cache=True)
def _run(starts: Ints, heads: Ints, weights: Ints, missing: Ints) -> Ints:
    """Fires every event once all that it waits for have fired (Kahn 1962), with the longest path to it."""
    count = len(starts) - 1
    waits = np.zeros(count, dtype=np.int64)
    for arc in range(len(heads)):
        waits[heads[arc]] += 1
    for event in missing:
        waits[event] += 1
    times = np.zeros(count, dtype=np.int64)
    queue = np.empty(count, dtype=np.int64)
    filled = 0
    for event in range(count):
        if waits[event] == 0:
            queue[filled] = event
            filled += 1
    done = 0
    while done < filled:
        event = queue[done]
        done += 1
        for arc in range(starts[event], starts[event + 1]):
            head = heads[arc]
            times[head] = max(times[head], times[event] + weights[arc])
            waits[head] -= 1
            if waits[head] == 0:
                queue[filled] = head
                filled += 1
    for event in range(count):
        if waits[event] > 0:
            times[event] = NEVER
    return times


@numba.njit(cache=True)
def _peel(
    event: int, gone: NDArray[np.bool_], waits: Ints, serves: Ints, into: Ints, befores: Ints, out: Ints, afters: Ints
) -> None:
    """Takes an event away, and then all that are left without an arc in or without an arc out."""
    stack = [event]
    gone[event] = True
    while len(stack) > 0:
        at = stack.pop()
        for arc in range(into[at], into[at + 1]):
            before = befores[arc]
            serves[before] -= 1
            if serves[before] == 0 and not gone[before]:
                gone[before] = True
                stack.append(before)
        for arc in range(out[at], out[at + 1]):
            after = afters[arc]
            waits[after] -= 1
            if waits[after] == 0 and not gone[after]:
                gone[after] = True
                stack.append(after)


@numba.njit(cache=True)
def _shortest(into: Ints, befores: Ints, ends: Ints, costs: Ints, out: Ints, afters: Ints) -> Ints:
    """A circuit of least cost, in the arcs' own direction, as positions in `befores`, `ends` and `costs`.

    Those columns hold the tail, head and cost of arcs sorted by head, `afters` the heads of arcs sorted by tail.
    From one event after another: the nearest way back to itself, among ways cheaper than the best so far; then
    the event, and all that lie on no circuit without it, are taken away. A ring of a million is one such search.
    """
    count = len(into) - 1
    gone = np.zeros(count, dtype=np.bool_)
    waits, serves = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    for event in range(count):
        waits[event], serves[event] = into[event + 1] - into[event], out[event + 1] - out[event]
    for event in range(count):
        if not gone[event] and (waits[event] == 0 or serves[event] == 0):
            _peel(event, gone, waits, serves, into, befores, out, afters)
    best = count + 1
    circuit = np.empty(0, dtype=np.int64)
    reach = np.empty(count, dtype=np.int64)  # least cost from here to the goal so far
    by = np.empty(count, dtype=np.int64)  # the first arc of that way
    seen = np.full(count, -1, dtype=np.int64)  # the goal that `reach` and `by` are for
    level, following = np.empty(len(befores) + 1, dtype=np.int64), np.empty(len(befores) + 1, dtype=np.int64)
    for goal in range(count):
        if gone[goal]:
            continue
        seen[goal], reach[goal] = goal, 0
        level[0] = goal
        filled, later, cost, closing = 1, 0, 0, -1
        while filled > 0 and cost < best:  # events at the same cost; arcs of cost 0 lead to more of them
            while filled > 0:
                filled -= 1
                at = level[filled]
                if reach[at] < cost:
                    continue
                for arc in range(into[at], into[at + 1]):
                    before, total = befores[arc], cost + costs[arc]
                    if gone[before] or total >= best:
                        continue
                    if before == goal:
                        closing, best = arc, total
                    elif seen[before] != goal or reach[before] > total:
                        seen[before], reach[before], by[before] = goal, total, arc
                        if costs[arc] == 0:
                            level[filled] = before
                            filled += 1
                        else:
                            following[later] = before
                            later += 1
            level, following = following, level
            filled, later = later, 0
            cost += 1
        if closing >= 0:
            way = [closing]
            while ends[way[-1]] != goal:
                way.append(by[ends[way[-1]]])
            circuit = np.array(way)
            if best == 0:
                break
        _peel(goal, gone, waits, serves, into, befores, out, afters)
    return circuit
