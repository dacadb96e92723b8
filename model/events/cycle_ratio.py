"""The maximum cycle ratio of a graph: the greatest weight per token around a circuit, exactly, with such a circuit.

For a timed marked graph it is the period: a circuit of weight w (durations) with t tokens cannot be passed
more than t times in w (Karp 1978; Baccelli, Cohen, Olsder, Quadrat 1992). Howard's policy iteration in whole
numbers (Cochet-Terrasson, Cohen, Gaubert, McGettrick, Quadrat 1998): each vertex holds one of its arcs,
so that the held arcs close circuits; vertices change to an arc that leads to a greater ratio, or at the same
ratio to a greater value, until none can. Every round is linear in the graph, and few rounds are needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import gcd

import numba
import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from model.semantics.arrays import Ints

_SAFE = 1 << 61  # values are told to leave 64 bits while one more sum still fits


@dataclass(frozen=True, slots=True, kw_only=True)
class Critical:
    """A circuit of greatest ratio.

    ratio: weight per token; None where the circuit carries no token: what it describes is never done.
    arcs: the indices of its arcs, in order, each starting where the one before ends.
    """

    ratio: Fraction | None
    weight: int
    tokens: int
    arcs: tuple[int, ...]


def maximum_cycle_ratio(
    vertices: int, tails: ArrayLike, heads: ArrayLike, weights: ArrayLike, tokens: ArrayLike
) -> Critical | None:
    """A circuit of greatest weight / tokens, None where there is no circuit.

    Arc i runs from vertex `tails[i]` to `heads[i]`. Weights and tokens are whole numbers, tokens 0 or more; a
    circuit without a token counts as greater than any other. Raises ValueError on arrays of unequal lengths,
    a vertex out of range, or negative tokens.
    """
    tail, head, weight, token = (np.asarray(values, dtype=np.int64) for values in (tails, heads, weights, tokens))
    if not len(tail) == len(head) == len(weight) == len(token):
        raise ValueError(f"arrays of {len(tail)}, {len(head)}, {len(weight)}, {len(token)} arcs; give equal lengths")
    if len(tail) and not (min(tail.min(), head.min()) >= 0 and max(tail.max(), head.max()) < vertices):
        raise ValueError(f"an arc leaves the vertices 0 to {vertices - 1}; give more vertices")
    if len(token) and token.min() < 0:
        raise ValueError(f"an arc carries {token.min()} tokens; give 0 or more")
    free = np.flatnonzero(token == 0)
    closed = _inside(vertices, tail, head, free)
    if len(closed):
        # any circuit of these will do: each vertex keeps one arc of them, and the arcs so kept close a circuit
        return _critical(_circuit_of_kept(vertices, tail, head, closed), weight, token)
    closed = _inside(vertices, tail, head, np.arange(len(tail)))
    if not len(closed):
        return None
    return _critical(_howard_arcs(vertices, tail, head, weight, token, closed), weight, token)


def _inside(vertices: int, tail: Ints, head: Ints, arcs: Ints) -> Ints:
    """Those of `arcs` that lie on a circuit of them: both ends in one strong component."""
    ones = np.ones(len(arcs), dtype=np.int8)
    graph = coo_array((ones, (tail[arcs], head[arcs])), shape=(vertices, vertices)).tocsr()
    _, component = connected_components(graph, directed=True, connection="strong")
    inside: Ints = arcs[component[tail[arcs]] == component[head[arcs]]]
    return inside


def _circuit_of_kept(vertices: int, tail: Ints, head: Ints, arcs: Ints) -> list[int]:
    kept = np.full(vertices, -1, dtype=np.int64)
    kept[tail[arcs]] = arcs
    return _follow(kept, head, int(tail[arcs[0]]))


def _follow(kept: Ints, head: Ints, vertex: int) -> list[int]:
    """The circuit that the kept arcs run into from `vertex`."""
    seen: dict[int, int] = {}
    path: list[int] = []
    while vertex not in seen:
        seen[vertex] = len(path)
        path.append(int(kept[vertex]))
        vertex = int(head[path[-1]])
    return path[seen[vertex] :]


def _critical(arcs: list[int], weight: Ints, token: Ints) -> Critical:
    weighs, carries = sum(int(weight[arc]) for arc in arcs), sum(int(token[arc]) for arc in arcs)
    ratio = Fraction(weighs, carries) if carries else None
    return Critical(ratio=ratio, weight=weighs, tokens=carries, arcs=tuple(arcs))


def _howard_arcs(vertices: int, tail: Ints, head: Ints, weight: Ints, token: Ints, arcs: Ints) -> list[int]:
    """A critical circuit of arcs that all lie on circuits with tokens."""
    number = np.full(vertices, -1, dtype=np.int64)
    used = np.unique(tail[arcs])
    number[used] = np.arange(len(used))
    arcs = arcs[np.argsort(tail[arcs], kind="stable")]
    starts = np.searchsorted(tail[arcs], used).astype(np.int64)
    starts = np.append(starts, len(arcs))
    to, weights, tokens = number[head[arcs]], weight[arcs], token[arcs]
    unit = gcd(*np.unique(np.abs(weights)).tolist()) or 1
    policy_arcs, winner, done = _howard(
        starts, to, weights // unit, tokens, np.zeros((3, len(used)), dtype=np.int64), _SAFE
    )
    if not done:  # too large for machine words: the same lines on Python's own numbers
        work = np.zeros((3, len(used)), dtype=object)
        policy_arcs, winner, done = _howard.py_func(
            starts, to, (weights // unit).astype(object), tokens.astype(object), work, 0
        )
        assert done
    policy = np.full(vertices, -1, dtype=np.int64)
    policy[used] = arcs[policy_arcs]
    return _follow(policy, head, int(used[winner]))


@numba.njit(cache=True)
def _howard(starts: Ints, to: Ints, weight: Ints, tokens: Ints, work: Ints, safe: int) -> tuple[Ints, int, bool]:
    """(the policy: an arc of each vertex; a vertex from which it runs into a critical circuit, whether words sufficed).

    starts: (vertices + 1,); arcs of vertex v are starts[v] to starts[v + 1] - 1. to, weight, tokens: (arcs,). The rows
    of `work`, (3, vertices), are up, down and value: the ratio of v is up[v] / down[v], reduced, and value[v] is the
    weight of the policy's path from v to the root of its circuit, where an arc costs down * weight - up * tokens.
    """
    up, down, value = work
    count = len(starts) - 1
    policy = starts[:-1].copy()
    for vertex in range(count):  # a start: the heaviest arc of those with the fewest tokens
        for arc in range(starts[vertex] + 1, starts[vertex + 1]):
            held = policy[vertex]
            if tokens[arc] < tokens[held] or (tokens[arc] == tokens[held] and weight[arc] > weight[held]):
                policy[vertex] = arc
    mark = np.empty(count, dtype=np.int64)
    path = np.empty(count, dtype=np.int64)
    while True:
        # evaluate: follow the policy from every vertex to a circuit, or to a vertex that is evaluated
        mark[:] = -1
        for first in range(count):
            if mark[first] >= 0:
                continue
            length, vertex = 0, first
            while mark[vertex] < 0:
                mark[vertex] = count + first  # on the present path
                path[length] = vertex
                length += 1
                vertex = to[policy[vertex]]
            if mark[vertex] == count + first:  # the path closed a circuit at this vertex, its root
                root = vertex
                weighs, carries = weight[policy[root]], tokens[policy[root]]
                vertex = to[policy[root]]
                while vertex != root:
                    weighs, carries = weighs + weight[policy[vertex]], carries + tokens[policy[vertex]]
                    vertex = to[policy[vertex]]
                a, b = abs(weighs), carries
                while b:
                    a, b = b, a % b
                weighs, carries = weighs // a, carries // a
                if up[root] != weighs or down[root] != carries:
                    value[root] = 0  # else it stays: with that, values only ever grow
                up[root], down[root] = weighs, carries
                mark[root] = first
            for index in range(length - 1, -1, -1):
                vertex = path[index]
                if mark[vertex] != count + first:
                    continue
                arc = policy[vertex]
                after = to[arc]
                mark[vertex] = first
                up[vertex], down[vertex] = up[after], down[after]
                value[vertex] = value[after] + down[after] * weight[arc] - up[after] * tokens[arc]
                if safe and max(abs(float(value[vertex])), abs(float(down[after]) * float(weight[arc]))) > safe:
                    return policy, 0, False
                if safe and abs(float(up[after]) * float(tokens[arc])) > safe:
                    return policy, 0, False
        # improve: first by the ratio that an arc leads to, and only where no ratio improves by value
        changed = False
        for vertex in range(count):
            for arc in range(starts[vertex], starts[vertex + 1]):
                held, after = to[policy[vertex]], to[arc]
                if safe and abs(float(up[after]) * float(down[held])) > safe:
                    return policy, 0, False
                if up[after] * down[held] > up[held] * down[after]:
                    policy[vertex] = arc
                    changed = True
        if changed:
            continue
        for vertex in range(count):
            best = value[vertex]
            for arc in range(starts[vertex], starts[vertex + 1]):
                after = to[arc]
                if up[after] != up[vertex] or down[after] != down[vertex]:
                    continue
                offer = value[after] + down[after] * weight[arc] - up[after] * tokens[arc]
                if offer > best:
                    best = offer
                    policy[vertex] = arc
                    changed = True
        if not changed:
            break
    winner = 0
    for vertex in range(count):
        if up[vertex] * down[winner] > up[winner] * down[vertex]:
            winner = vertex
    return policy, winner, True
