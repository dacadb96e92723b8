"""The table of SPIN beside the model: which rows it has, and what it counts as agreement."""

from collections.abc import Callable

import pytest

from experiments.cross_checks.engine_speed_workloads import explorer
from experiments.cross_checks.spin import KNOWN, SMOKE, Config, cases, run


@pytest.fixture
def tools(require: Callable[[str, str], str]) -> None:
    require("spin", "apt-get install spin")
    require("cc", "apt-get install gcc libc6-dev")


def test_the_full_table_has_every_case_of_the_claim() -> None:
    full = [case for case in cases(Config()) if case.encoding == "straight"]
    assert {case.ranks for case in full} == set(range(2, 9))
    assert {case.rounds for case in full} == {1, 2, 3}
    assert len(full) == len(set(full)) == 7 * 3 * 5 * 3
    assert {case.ranks for case in cases(Config()) if case.encoding == "loop"} == set(KNOWN)


def test_a_small_table_agrees(tools: None) -> None:
    found = run(Config(ranks=(2,), rounds=(1,), semantics=("rendezvous", "eager"), known=(4,), jobs=1))
    assert found["total"] == found["agree"] == len(found["rows"]) == 12
    assert found["known"] == {"4": {"expected": 886, "spin": 886, "model": 886}}
    assert {row["verdict"] for row in found["rows"]} == {"ok", "deadlock"}


@pytest.mark.parametrize("wrong", [{"jobs": 0}, {"known": (6,)}])
def test_a_wrong_argument_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"give 1 or more|choose from"):
        run(Config(**wrong))  # type: ignore[arg-type]


def test_the_smoke_table_is_part_of_the_full_one() -> None:
    assert set(cases(SMOKE)) <= set(cases(Config()))


def test_the_benchmark_counts_the_same_states(tools: None) -> None:
    found = explorer(ranks=4, rounds=3)
    assert found["states"] == 886
    assert found["times_spin"] == found["spin_seconds"] / found["seconds"]
