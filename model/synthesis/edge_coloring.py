"""Edge coloring: the steps of a communication pattern when a rank takes part in one transfer at a time.

The colors of an edge coloring are the steps, so the least number of steps is the chromatic index
(theory, statement 9): the maximum degree D of a bipartite multigraph (Koenig 1916), D or D + 1 of a simple
graph (Vizing 1964).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import rustworkx

Edge = tuple[int, int]
Bound = Literal["degree", "odd set", "integer program"]

MAX_VARIABLES = 1_500
"""The integer program is asked only up to so many pairs of an edge and a color: seconds, not minutes."""


def color_edges(edges: Sequence[Edge]) -> tuple[int, ...]:
    """A color 0, 1, ... for every edge of a loop-free multigraph, no two alike at a vertex.

    Bipartite: D colors (Alon 2003). Else the better of two: a greedy coloring of all edges, and each layer of parallel
    edges apart with at most D + 1 colors a layer (Misra and Gries 1992).
    """
    graph = _graph(edges)
    if rustworkx.is_bipartite(graph):
        return _in_order(rustworkx.graph_bipartite_edge_color(graph))
    return min(_in_order(rustworkx.graph_greedy_edge_color(graph)), _layered(edges), key=max)


def _in_order(colors: Mapping[int, int]) -> tuple[int, ...]:
    return tuple(colors[number] for number in range(len(colors)))


def _layered(edges: Sequence[Edge]) -> tuple[int, ...]:
    """Each layer of parallel edges, which is a simple graph, in colors of its own."""
    depth: Counter[Edge] = Counter()
    layers: defaultdict[int, list[int]] = defaultdict(list)
    for number, (u, v) in enumerate(edges):
        pair = (min(u, v), max(u, v))
        layers[depth[pair]].append(number)
        depth[pair] += 1
    colors, base = [0] * len(edges), 0
    for members in layers.values():
        layer = _in_order(rustworkx.graph_misra_gries_edge_color(_graph([edges[number] for number in members])))
        for number, color in zip(members, layer, strict=True):
            colors[number] = base + color
        base += max(layer) + 1
    return tuple(colors)


def _graph(edges: Sequence[Edge]) -> rustworkx.PyGraph[int, None]:
    """The vertices of the edges, each named by its number, and edge i for `edges[i]`."""
    graph: rustworkx.PyGraph[int, None] = rustworkx.PyGraph()
    node = {vertex: graph.add_node(vertex) for vertex in dict.fromkeys(vertex for edge in edges for vertex in edge)}
    graph.add_edges_from([(node[u], node[v], None) for u, v in edges])
    return graph


def lower_bound(edges: Sequence[Edge]) -> tuple[int, Bound]:
    """A number of steps that no schedule beats, and why.

    degree: a rank does one transfer a step. odd set: among n ranks of a component there are at most n // 2
    transfers a step (for a ring of odd P this gives statement 6).
    """
    if not edges:
        return 0, "degree"
    degree = max(Counter(vertex for edge in edges for vertex in edge).values())
    density = max(_density(edges, part) for part in _parts(edges))
    return (density, "odd set") if density > degree else (degree, "degree")


def _parts(edges: Sequence[Edge]) -> list[set[int]]:
    """The vertices of every connected and of every biconnected component."""
    graph = _graph(edges)
    blocks: defaultdict[int, set[int]] = defaultdict(set)
    for (u, v), block in rustworkx.biconnected_components(graph).items():
        blocks[block].update((u, v))
    return [{graph[node] for node in part} for part in (*rustworkx.connected_components(graph), *blocks.values())]


def _density(edges: Sequence[Edge], part: set[int]) -> int:
    """Steps for the edges inside a set of vertices, of which each step takes at most one for two vertices."""
    inside = sum(1 for u, v in edges if u in part and v in part)
    return math.ceil(inside / (len(part) // 2))


def exact_coloring(edges: Sequence[Edge], colors: int) -> tuple[int, ...] | Literal["unknown"] | None:
    """A coloring with `colors` colors, None where there is none, `unknown` where that is too large to decide.

    By an integer program (HiGHS): one variable an edge and color, the edges of one vertex fixed.
    """
    if len(edges) * colors > MAX_VARIABLES:
        return "unknown"
    from scipy.optimize import Bounds, LinearConstraint, milp  # slow to import
    from scipy.sparse import coo_array

    busiest = Counter(vertex for edge in edges for vertex in edge).most_common(1)[0][0]
    fixed = [number for number, edge in enumerate(edges) if busiest in edge]
    if len(fixed) > colors:
        return None
    row, column, upper, lower = list[int](), list[int](), list[int](), list[int]()

    def constrain(variables: Sequence[int], least: int) -> None:
        """`least` to 1 of the variables are chosen."""
        row.extend([len(upper)] * len(variables))
        column.extend(variables)
        upper.append(1)
        lower.append(least)

    at: defaultdict[int, list[int]] = defaultdict(list)
    for number, edge in enumerate(edges):
        constrain([number * colors + color for color in range(colors)], 1)
        for vertex in edge:
            at[vertex].append(number)
    for numbers in at.values():
        for color in range(colors):
            constrain([number * colors + color for number in numbers], 0)
    least = np.zeros(len(edges) * colors)
    for color, number in enumerate(fixed):
        least[number * colors + color] = 1
    matrix = coo_array((np.ones(len(row)), (row, column)), shape=(len(upper), len(least)))
    solution = milp(
        np.zeros(len(least)),
        integrality=np.ones(len(least)),
        bounds=Bounds(least, np.ones(len(least))),
        constraints=LinearConstraint(matrix.tocsr(), lower, upper),
        options={"node_limit": 20_000},
    )
    if solution.status == 2:
        return None
    if solution.x is None:
        return "unknown"
    return tuple(int(color) for color in solution.x.reshape(len(edges), colors).argmax(axis=1))
