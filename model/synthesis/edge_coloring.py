"""Edge colouring: the steps of a communication pattern when a rank takes part in one transfer at a time.

The colours of an edge colouring are the steps, so the least number of steps is the chromatic index
(theory, statement 9): the maximum degree D of a bipartite multigraph (Koenig 1916), D or D + 1 of a simple
graph (Vizing 1964). networkx colours vertices only, which on the line graph carries no such bound.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Literal

import networkx as nx
import numpy as np
from scipy.sparse import coo_array

Edge = tuple[int, int]
Bound = Literal["degree", "odd set", "integer program"]

EXACT_CELLS = 1_500
"""The integer program is asked only up to so many pairs of an edge and a colour: seconds, not minutes."""


def edge_colouring(edges: Sequence[Edge]) -> tuple[int, ...]:
    """A colour 0, 1, ... for every edge of a loop-free multigraph, no two alike at a vertex.

    Bipartite: D colours, by alternating paths. Else each layer of parallel edges apart, at most D + 1 colours a
    layer (Misra and Gries 1992).
    """
    graph: nx.Graph[int] = nx.Graph(edges)
    if nx.is_bipartite(graph):
        return _koenig(edges)
    depth: Counter[Edge] = Counter()
    layers: defaultdict[int, list[int]] = defaultdict(list)
    for number, (u, v) in enumerate(edges):
        pair = (min(u, v), max(u, v))
        layers[depth[pair]].append(number)
        depth[pair] += 1
    colours, base = [0] * len(edges), 0
    for members in layers.values():
        part = _vizing([edges[number] for number in members])
        for number, colour in zip(members, part, strict=True):
            colours[number] = base + colour
        base += max(part) + 1
    return tuple(colours)


def lower_bound(edges: Sequence[Edge]) -> tuple[int, Bound]:
    """A number of steps that no schedule beats, and why.

    degree: a rank does one transfer a step. odd set: among n ranks of a component there are at most n // 2
    transfers a step (for a ring of odd P this gives statement 6).
    """
    if not edges:
        return 0, "degree"
    degree = max(Counter(vertex for edge in edges for vertex in edge).values())
    graph: nx.Graph[int] = nx.Graph(edges)
    parts = [*nx.connected_components(graph), *nx.biconnected_components(graph)]
    crowd = 0
    for part in parts:
        inside = sum(1 for u, v in edges if u in part and v in part)
        crowd = max(crowd, math.ceil(inside / (len(part) // 2)))
    return (crowd, "odd set") if crowd > degree else (degree, "degree")


def exact_colouring(edges: Sequence[Edge], colours: int) -> tuple[int, ...] | Literal["unknown"] | None:
    """A colouring with `colours` colours, None where there is none, `unknown` where that is too large to decide.

    By an integer program (HiGHS): one variable an edge and colour, the edges of one vertex fixed.
    """
    if len(edges) * colours > EXACT_CELLS:
        return "unknown"
    from scipy.optimize import Bounds, LinearConstraint, milp  # slow to import

    busiest = Counter(vertex for edge in edges for vertex in edge).most_common(1)[0][0]
    fixed = [number for number, edge in enumerate(edges) if busiest in edge]
    if len(fixed) > colours:
        return None
    row, column, upper, lower = list[int](), list[int](), list[int](), list[int]()

    def constrain(cells: Sequence[int], least: int) -> None:
        row.extend([len(upper)] * len(cells))
        column.extend(cells)
        upper.append(1)
        lower.append(least)

    at: defaultdict[int, list[int]] = defaultdict(list)
    for number, edge in enumerate(edges):
        constrain([number * colours + colour for colour in range(colours)], 1)
        for vertex in edge:
            at[vertex].append(number)
    for numbers in at.values():
        for colour in range(colours):
            constrain([number * colours + colour for number in numbers], 0)
    least = np.zeros(len(edges) * colours)
    for colour, number in enumerate(fixed):
        least[number * colours + colour] = 1
    matrix = coo_array((np.ones(len(row)), (row, column)), shape=(len(upper), len(least)))
    found = milp(
        np.zeros(len(least)),
        integrality=np.ones(len(least)),
        bounds=Bounds(least, np.ones(len(least))),
        constraints=LinearConstraint(matrix.tocsr(), lower, upper),
        options={"node_limit": 20_000},
    )
    if found.status == 2:
        return None
    if found.x is None:
        return "unknown"
    return tuple(int(colour) for colour in found.x.reshape(len(edges), colours).argmax(axis=1))


class _Palette:
    """A partial colouring: at each vertex, the edge of each colour."""

    def __init__(self, edges: Sequence[Edge]) -> None:
        self.edges = edges
        self.colour: list[int | None] = [None] * len(edges)
        self.at: defaultdict[int, dict[int, int]] = defaultdict(dict)

    def free(self, vertex: int) -> int:
        """The least colour that no edge at the vertex has."""
        used = self.at[vertex]
        return next(colour for colour in range(len(used) + 1) if colour not in used)

    def set(self, number: int, colour: int | None) -> None:
        before = self.colour[number]
        for vertex in self.edges[number]:
            if before is not None and self.at[vertex].get(before) == number:
                del self.at[vertex][before]
            if colour is not None:
                self.at[vertex][colour] = number
        self.colour[number] = colour

    def flip(self, vertex: int, first: int, second: int) -> None:
        """Exchanges two colours on the path from `vertex` that starts with an edge of colour `first`."""
        path, seek = list[int](), first
        while (number := self.at[vertex].get(seek)) is not None:
            path.append(number)
            u, v = self.edges[number]
            vertex = v if vertex == u else u
            seek = second if seek == first else first
        swapped = [(number, second if self.colour[number] == first else first) for number in path]
        for number in path:
            self.set(number, None)
        for number, colour in swapped:
            self.set(number, colour)

    def done(self) -> tuple[int, ...]:
        assert all(colour is not None for colour in self.colour)
        return tuple(colour for colour in self.colour if colour is not None)


def _koenig(edges: Sequence[Edge]) -> tuple[int, ...]:
    palette = _Palette(edges)
    for number, (u, v) in enumerate(edges):
        mine, theirs = palette.free(u), palette.free(v)
        if mine in palette.at[v]:
            palette.flip(v, mine, theirs)  # in a bipartite graph this path does not end at u
        palette.set(number, mine)
    return palette.done()


def _vizing(edges: Sequence[Edge]) -> tuple[int, ...]:
    palette = _Palette(edges)
    number_of = {frozenset(edge): number for number, edge in enumerate(edges)}
    for number, (u, v) in enumerate(edges):
        fan, used = [v], {v}
        while True:  # grow: the colour of the next edge at u is free at the last vertex of the fan
            last = fan[-1]
            following = (
                next(vertex for vertex in edges[other] if vertex != u)
                for colour, other in sorted(palette.at[u].items())
                if colour not in palette.at[last]
            )
            step = next((vertex for vertex in following if vertex not in used), None)
            if step is None:
                break
            fan.append(step)
            used.add(step)
        mine, theirs = palette.free(u), palette.free(fan[-1])
        palette.flip(u, theirs, mine)
        # after the flip `theirs` is free at u; the fan is cut at its first vertex where it is free as well
        length = 0
        while theirs in palette.at[fan[length]]:
            length += 1
        shift = [number_of[frozenset((u, vertex))] for vertex in fan[: length + 1]]
        new = [*(palette.colour[other] for other in shift[1:]), theirs]
        for other in shift:
            palette.set(other, None)
        for other, colour in zip(shift, new, strict=True):
            palette.set(other, colour)
        assert shift[0] == number
    return palette.done()
