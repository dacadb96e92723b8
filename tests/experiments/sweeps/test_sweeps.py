"""The experiments that run in the model alone: orderings of one step, and patterns of the serving loop."""

import json
from typing import Any

import pytest

from experiments.sweeps import order_space as orderspace
from experiments.sweeps import presence_patterns as patterns
from model.rings.orderings import NAMED


@pytest.fixture(scope="module")
def spaces() -> list[dict[str, object]]:
    found: list[dict[str, object]] = orderspace.run(orderspace.SMOKE)["spaces"]
    return found


def test_two_orderings_of_each_ring_deadlock_and_all_are_counted(spaces: list[dict[str, object]]) -> None:
    assert [space["ranks"] for space in spaces] == list(orderspace.SMOKE.ranks)
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
    assert orderspace.makespan(vector) == steps


def test_the_loop_hangs_exactly_where_p_iterations_in_a_row_carry_a_batch() -> None:
    points = patterns.run(patterns.Config(ranks=(2, 3), depths=(0, 1), extra=2, jobs=1))["points"]
    assert len(points) == 2 * 2 * len(NAMED) * 2
    for point in points:
        assert point["tried"] == "every"
        uniform = {"receive-first", "send-first"} if point["isend"] == "blocking" else {"receive-first"}
        assert patterns.deadlocks_iff_full(point) == (point["ordering"] in uniform)
        assert bool(point["deadlocked"]) == (point["ordering"] in uniform)
    assert patterns.as_stated(points)
    assert not patterns.as_stated([{**point, "deadlocked": ["11111"]} for point in points])


def test_a_large_ring_gets_a_sample_with_the_full_pattern() -> None:
    config = patterns.Config(ranks=(3, 6), depths=(0,), orderings=("send-first",), every=3, sample=5, jobs=1)
    small, _, large, asynchronous = patterns.run(config)["points"]
    assert small["tried"] == "every"
    assert len(large["tried"]) == 6 and "1" * 9 in large["tried"]
    assert patterns.tried(large) == large["tried"]
    assert patterns.deadlocks_iff_full(large)
    assert asynchronous["deadlocked"] == []
    assert [point.patterns for point in patterns.plan(config)][2] == tuple(large["tried"])  # the same for the same seed


@pytest.mark.parametrize(("changes", "said"), [({"jobs": 0}, "jobs is 0"), ({"orderings": ("SRS",)}, "3 letters")])
def test_what_is_no_plan_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        patterns.plan(patterns.Config(**changes))


def test_every_pattern_is_there_once() -> None:
    assert patterns.patterns(2) == ["00", "01", "10", "11"]
    assert len(set(patterns.patterns(7))) == 2**7


@pytest.mark.parametrize("deadlocked", [[], ["110"], ["110", "011"], ["011", "110", "111", "101"]])
def test_other_sets_of_patterns_are_told_from_the_full_ones(deadlocked: list[str]) -> None:
    point = {"ranks": 2, "iterations": 3, "tried": "every", "deadlocked": ["011", "110", "111"]}
    assert patterns.deadlocks_iff_full(point)
    assert not patterns.deadlocks_iff_full({**point, "deadlocked": deadlocked})
