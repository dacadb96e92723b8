"""Edge colorings: no two alike at a rank, and as few as theory promises."""

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from model.synthesis.edge_coloring import Edge, color_edges, exact_coloring, lower_bound


def is_coloring(edges: Sequence[Edge], colors: Sequence[int]) -> bool:
    ends = Counter((vertex, color) for edge, color in zip(edges, colors, strict=True) for vertex in edge)
    return max(ends.values(), default=1) == 1


def degree(edges: Sequence[Edge]) -> int:
    return max(Counter(vertex for edge in edges for vertex in edge).values())


def multigraph(chance: random.Random, vertices: int = 12, most: int = 40) -> list[Edge]:
    size = chance.randint(3, vertices)
    return [(u, v) for u, v in (chance.sample(range(size), 2) for _ in range(chance.randint(1, most)))]


@pytest.mark.parametrize("seed", range(30))
def test_a_bipartite_multigraph_takes_its_degree(seed: int) -> None:
    """Koenig 1916, on which the fewest steps of rings of even P and of grids rest. Nine graphs a seed."""
    chance = random.Random(seed)
    for _ in range(9):
        left, right = chance.randint(1, 6), chance.randint(1, 6)
        edges = [(chance.randrange(left), left + chance.randrange(right)) for _ in range(chance.randint(1, 40))]
        colors = color_edges(edges)
        assert is_coloring(edges, colors)
        assert max(colors) + 1 == degree(edges) == lower_bound(edges)[0]


@pytest.mark.parametrize("seed", range(30))
def test_a_simple_graph_takes_one_more_at_most(seed: int) -> None:
    """Vizing 1964. Nine graphs a seed."""
    chance = random.Random(seed)
    for _ in range(9):
        edges = sorted({(min(edge), max(edge)) for edge in multigraph(chance)})
        colors = color_edges(edges)
        assert is_coloring(edges, colors)
        assert lower_bound(edges)[0] <= max(colors) + 1 <= degree(edges) + 1


@pytest.mark.parametrize("seed", range(30))
def test_a_multigraph_takes_no_more_than_layer_by_layer(seed: int) -> None:
    """Each layer of parallel edges is simple, so takes at most one more than its degree. Nine graphs a seed."""
    chance = random.Random(seed)
    for _ in range(9):
        edges = multigraph(chance)
        colors = color_edges(edges)
        depth: Counter[Edge] = Counter()
        layers: dict[int, list[Edge]] = {}
        for u, v in edges:
            pair = (min(u, v), max(u, v))
            layers.setdefault(depth[pair], []).append(pair)
            depth[pair] += 1
        assert is_coloring(edges, colors)
        assert lower_bound(edges)[0] <= max(colors) + 1 <= sum(degree(layer) + 1 for layer in layers.values())


def test_colors_are_within_one_of_the_fewest_on_small_graphs() -> None:
    """By the integer program, on 120 small multigraphs; most take the fewest."""
    chance = random.Random(0)
    excess: Counter[int] = Counter()
    for _ in range(120):
        edges = multigraph(chance, vertices=6, most=10)
        fewest = next(colors for colors in range(1, len(edges) + 1) if exact_coloring(edges, colors) is not None)
        assert lower_bound(edges)[0] <= fewest
        excess[max(color_edges(edges)) + 1 - fewest] += 1
    assert set(excess) <= {0, 1} and excess[0] > 100


def test_a_triangle_of_double_edges_takes_six_steps() -> None:
    triangle = [(0, 1), (1, 2), (2, 0)] * 2
    assert max(color_edges(triangle)) + 1 == 6
    assert lower_bound(triangle) == (6, "odd set")


@pytest.mark.parametrize("ranks", [3, 5, 7, 9])
def test_the_odd_set_bound_is_that_of_a_ring_of_odd_size(ranks: int) -> None:
    """Statement 6: a ring of odd P takes three steps, and its degree is two."""
    edges = [(rank, (rank + 1) % ranks) for rank in range(ranks)]
    assert lower_bound(edges) == (3, "odd set")
    assert exact_coloring(edges, 2) is None
    colors = exact_coloring(edges, 3)
    assert isinstance(colors, tuple) and is_coloring(edges, colors)


def test_nothing_to_color() -> None:
    assert color_edges([]) == () and lower_bound([]) == (0, "degree")


def test_what_is_too_large_is_not_decided() -> None:
    assert exact_coloring([(0, 1)] * 40, 40) == "unknown"
