"""A circuit of least cost in a directed graph, compiled by numba; compiled code is cached on disk."""

from __future__ import annotations

import numba
import numpy as np

from model.semantics.arrays import Bools, Ints


def circuit_of_arcs(vertices: int, tails: Ints, heads: Ints, costs: Ints) -> Ints:
    """The indices of the arcs of a circuit of least cost, each starting where the last ends; empty without one.

    tails, heads, costs: (arcs,); a cost is 0 or 1.
    """
    into, back = grouped_by(heads, vertices)
    out, forth = grouped_by(tails, vertices)
    arcs: Ints = back[_least_circuit(into, tails[back], heads[back], costs[back], out, heads[forth])]
    return arcs


def grouped_by(vertices: Ints, count: int) -> tuple[Ints, Ints]:
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
def _trim(
    event: int, gone: Bools, waits: Ints, serves: Ints, into: Ints, befores: Ints, out: Ints, afters: Ints
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
def _least_circuit(into: Ints, befores: Ints, ends: Ints, costs: Ints, out: Ints, afters: Ints) -> Ints:
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
            _trim(event, gone, waits, serves, into, befores, out, afters)
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
        _trim(goal, gone, waits, serves, into, befores, out, afters)
    return circuit
