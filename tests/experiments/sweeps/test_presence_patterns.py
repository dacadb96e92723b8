"""Presence patterns of the serving loop: which deadlock, and which are tried."""

from typing import Any

import pytest

from experiments.sweeps import presence_patterns
from model.rings.orderings import NAMED


def test_the_loop_hangs_exactly_where_p_iterations_in_a_row_carry_a_batch() -> None:
    points = presence_patterns.run(presence_patterns.Config(ranks=(2, 3), depths=(0, 1), extra=2, jobs=1))["points"]
    assert len(points) == 2 * 2 * len(NAMED) * 2
    for point in points:
        assert point["tried"] == "every"
        uniform = {"receive-first", "send-first"} if point["isend"] == "blocking" else {"receive-first"}
        assert presence_patterns.deadlocks_iff_full(point) == (point["ordering"] in uniform)
        assert bool(point["deadlocked"]) == (point["ordering"] in uniform)
    assert presence_patterns.as_stated(points)
    assert not presence_patterns.as_stated([{**point, "deadlocked": ["11111"]} for point in points])


def test_a_large_ring_gets_a_sample_with_the_full_pattern() -> None:
    config = presence_patterns.Config(ranks=(3, 6), depths=(0,), orderings=("send-first",), every=3, sample=5, jobs=1)
    small, _, large, asynchronous = presence_patterns.run(config)["points"]
    assert small["tried"] == "every"
    assert len(large["tried"]) == 6 and "1" * 9 in large["tried"]
    assert presence_patterns.tried(large) == large["tried"]
    assert presence_patterns.deadlocks_iff_full(large)
    assert asynchronous["deadlocked"] == []
    assert [point.patterns for point in presence_patterns.plan(config)][2] == tuple(
        large["tried"]
    )  # the same for the same seed


@pytest.mark.parametrize(("changes", "said"), [({"jobs": 0}, "jobs is 0"), ({"orderings": ("SRS",)}, "3 letters")])
def test_what_is_no_plan_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        presence_patterns.plan(presence_patterns.Config(**changes))


def test_every_pattern_is_there_once() -> None:
    assert presence_patterns.every_pattern(2) == ["00", "01", "10", "11"]
    assert len(set(presence_patterns.every_pattern(7))) == 2**7


@pytest.mark.parametrize("deadlocked", [[], ["110"], ["110", "011"], ["011", "110", "111", "101"]])
def test_other_sets_of_patterns_are_told_from_the_full_ones(deadlocked: list[str]) -> None:
    point = {"ranks": 2, "iterations": 3, "tried": "every", "deadlocked": ["011", "110", "111"]}
    assert presence_patterns.deadlocks_iff_full(point)
    assert not presence_patterns.deadlocks_iff_full({**point, "deadlocked": deadlocked})
