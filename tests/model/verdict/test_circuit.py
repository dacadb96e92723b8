"""The shortest circuit of plain waits, against networkx."""

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.verdict.circuit import shortest_circuit


@pytest.mark.parametrize(
    ("waits", "circuit"),
    [
        ({}, ()),
        ({0: [1], 1: []}, ()),
        ({0: [7]}, ()),
        ({3: [3]}, (3,)),
        ({0: [1], 1: [0]}, (0, 1)),
        ({5: [1, 2], 1: [5], 2: [5]}, (1, 5)),
        ({0: [1], 1: [2], 2: [0], 4: [5], 5: [4]}, (4, 5)),
        ({0: [1], 1: [2], 2: [1]}, (1, 2)),
    ],
)
def test_circuits_by_hand(waits: dict[int, list[int]], circuit: tuple[int, ...]) -> None:
    assert shortest_circuit(waits) == circuit


@given(st.dictionaries(st.integers(0, 7), st.lists(st.integers(0, 9), max_size=3), max_size=8))
def test_it_is_a_circuit_and_none_is_shorter(waits: dict[int, list[int]]) -> None:
    graph = nx.DiGraph([(node, other) for node, others in waits.items() for other in others])
    circuit = shortest_circuit(waits)
    shortest = min(map(len, nx.simple_cycles(graph)), default=0)
    assert len(circuit) == shortest
    assert all(other in waits[node] for node, other in zip(circuit, circuit[1:] + circuit[:1], strict=True))
    assert circuit == () or circuit[0] == min(circuit)
