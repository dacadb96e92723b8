"""All orderings of one ring step: counts, and what the named ones take."""

import json

import pytest

from experiments.sweeps import order_space
from model.rings.orderings import NAMED


@pytest.fixture(scope="module")
def spaces() -> list[dict[str, object]]:
    found: list[dict[str, object]] = order_space.run(order_space.SMOKE)["spaces"]
    return found


def test_two_orderings_of_each_ring_deadlock_and_all_are_counted(spaces: list[dict[str, object]]) -> None:
    assert [space["ranks"] for space in spaces] == list(order_space.SMOKE.ranks)
    for space in spaces:
        counts = space["makespan"]
        assert isinstance(counts, dict)
        assert space["deadlocks"] == 2
        assert space["orderings"] == 2 ** int(str(space["ranks"])) == 2 + sum(counts.values())


def test_named_orderings_take_what_the_theory_says(spaces: list[dict[str, object]]) -> None:
    for space in spaces:
        ranks, named = int(str(space["ranks"])), space["named"]
        assert isinstance(named, dict) and set(named) == set(NAMED)
        # 1 + the longest cyclic run of equal letters; 0 where all are equal
        expected = {"send-first": 0, "receive-first": 0, "parity": 3 if ranks % 2 else 2, "last-sends-first": ranks}
        assert {name: named[name]["makespan"] for name in expected} == expected
        assert all(len(one["vector"]) == ranks for one in named.values())
    json.dumps(spaces)


@pytest.mark.parametrize(("vector", "steps"), [("SS", 0), ("RRR", 0), ("SR", 2), ("SRS", 3), ("SSRR", 3), ("RSSSR", 4)])
def test_makespans_of_vectors(vector: str, steps: int) -> None:
    assert order_space.makespan(vector) == steps
