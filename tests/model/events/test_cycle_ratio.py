"""The maximum cycle ratio against every simple circuit, one by one."""

from fractions import Fraction

import networkx as nx
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model.events.cycle_ratio import _howard, maximum_cycle_ratio

Arc = tuple[int, int, int, int]


def by_hand(arcs: list[Arc]) -> Fraction | str | None:
    """The greatest ratio of all simple circuits; "dead" where one carries no token, None where there is none."""
    graph = nx.MultiDiGraph()
    for number, (tail, head, _, _) in enumerate(arcs):
        graph.add_node(("arc", number))  # parallel arcs are told apart by a vertex of their own
        graph.add_edge(tail, ("arc", number))
        graph.add_edge(("arc", number), head)
    best: Fraction | None = None
    for circuit in nx.simple_cycles(graph):
        used = [arcs[item[1]] for item in circuit if isinstance(item, tuple)]
        tokens = sum(arc[3] for arc in used)
        if tokens == 0:
            return "dead"
        ratio = Fraction(sum(arc[2] for arc in used), tokens)
        best = ratio if best is None else max(best, ratio)
    return best


def ratio(vertices: int, arcs: list[Arc]) -> Fraction | str | None:
    """The answer under test, after its circuit has been walked."""
    columns = [[arc[column] for arc in arcs] for column in range(4)]
    found = maximum_cycle_ratio(vertices, *columns)
    if found is None:
        return None
    walked = [arcs[index] for index in found.arcs]
    for before, after in zip(walked, walked[1:] + walked[:1], strict=True):
        assert before[1] == after[0]
    assert found.weight == sum(arc[2] for arc in walked)
    assert found.tokens == sum(arc[3] for arc in walked)
    if found.ratio is None:
        assert found.tokens == 0
        return "dead"
    assert found.ratio == Fraction(found.weight, found.tokens)
    return found.ratio


graphs = st.integers(1, 6).flatmap(
    lambda size: st.tuples(
        st.just(size),
        st.lists(
            st.tuples(
                st.integers(0, size - 1),
                st.integers(0, size - 1),
                st.integers(-5, 20),
                st.sampled_from([0, 1, 1, 2, 3]),
            ),
            max_size=12,
        ),
    )
)


@given(graphs)
@example((1, [(0, 0, 3, 0)]))
@example((2, [(0, 1, 3, 0), (1, 0, 4, 2), (1, 1, 3, 1)]))
@example((3, []))
def test_the_ratio_is_that_of_the_best_simple_circuit(graph: tuple[int, list[Arc]]) -> None:
    vertices, arcs = graph
    assert ratio(vertices, arcs) == by_hand(arcs)


@given(graphs, st.sampled_from([10**12 + 39, 10**18 + 9]))
def test_large_weights_leave_machine_words_and_stay_exact(graph: tuple[int, list[Arc]], scale: int) -> None:
    vertices, arcs = graph
    large = [(tail, head, min(weight * scale + weight % 3, 2**62), tokens) for tail, head, weight, tokens in arcs]
    assert ratio(vertices, large) == by_hand(large)


def test_the_guard_against_overflow_tells() -> None:
    starts, to = np.array([0, 1, 2]), np.array([1, 0])
    cost, toll = np.array([2**61, 2**61 + 1]), np.array([1, 1])
    assert not _howard(starts, to, cost, toll, np.zeros((3, 2), dtype=np.int64), 1 << 61)[2]
    assert ratio(2, [(0, 1, 2**61, 1), (1, 0, 2**61 + 1, 1)]) == Fraction(2**62 + 1, 2)


@pytest.mark.parametrize("size", [1, 2, 50, 3000])
def test_a_long_circuit_beats_short_ones_by_the_least_margin(size: int) -> None:
    loops: list[Arc] = [(vertex, vertex, 1000, 1) for vertex in range(size)]
    ring: list[Arc] = [(vertex, (vertex + 1) % size, 1000, 1) for vertex in range(size)]
    assert ratio(size, loops + ring) == 1000
    ring[-1] = (size - 1, 0, 1001, 1)
    assert ratio(size, loops + ring) == Fraction(1000 * size + 1, size)


def test_the_circuit_may_lie_in_any_component() -> None:
    arcs = [(0, 1, 5, 1), (1, 0, 5, 1), (1, 2, 100, 0), (2, 3, 7, 1), (3, 2, 6, 1), (3, 4, 100, 0)]
    assert ratio(5, arcs) == Fraction(13, 2)


def test_bad_input_says_what_to_give() -> None:
    with pytest.raises(ValueError, match=r"0 to 1; give more"):
        maximum_cycle_ratio(2, [0], [2], [1], [1])
    with pytest.raises(ValueError, match=r"-1 tokens; give 0 or more"):
        maximum_cycle_ratio(2, [0], [1], [1], [-1])
    with pytest.raises(ValueError, match=r"equal lengths"):
        maximum_cycle_ratio(2, [0, 1], [1], [1], [1])
