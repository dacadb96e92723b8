"""The numbers that the README and the paper quote come from the results, all of them."""

from pathlib import Path
from typing import Any

import pytest

from experiments.catalogue import REPRODUCED
from experiments.hang_matrix import gloo, mpich
from experiments.publish.numbers import generated_numbers
from experiments.records.results import ResultStore
from experiments.serving import multi_gpu, pipeline
from experiments.sweeps import order_space, presence_patterns
from tests.experiments import samples

Bodies = dict[str, dict[str, Any]]


def test_every_number_has_a_name_that_latex_can_take(store: ResultStore) -> None:
    numbers = generated_numbers(store)
    assert all(name.isascii() and name.isalpha() for name in numbers)
    assert all(isinstance(value, str) and value for value in numbers.values())


def test_numbers_are_those_of_the_results(store: ResultStore, bodies: Bodies) -> None:
    numbers = generated_numbers(store)
    matrices = (gloo.NAME, gloo.BLOCKING_NAME, mpich.NAME)
    counts = [len(bodies[name]["cells"]) for name in matrices]
    assert [int(numbers[f"{short}Cells"]) for short in ("Gloo", "Blocking", "Mpich", "Matrix")] == [
        *counts,
        sum(counts),
    ]
    expected = {
        "GlooCells": "32",
        "GlooProbes": "96",
        "GlooHangs": "8",
        "GlooUnclear": "0",
        "GlooAgree": "32",
        "GlooMismatches": "0",
        "MatrixMismatches": "0",
        "MpichLimit": "8112",
        "MpichLimitDeclared": "8112",
        "SpaceMaxRanks": "4",
        "PatternsMaxRanks": "2",
        "PatternsTried": str(5 * 2 * 2**5),
        "ServingCores": "2",
        "ServingCpu": "Test & Co. 100%",
        "ServingRequests": "2",
        "ServingTokens": "3",
        "ServingRateOne": "6.0",
        "ServingRateTwo": "8.0",
        "HangTrials": "8",
        "HangMismatches": "0",
        "Cards": "4",
        "CardsName": "Test & Co. 100%",
        "CardsSeconds": "1.00",
        "CardsPredicted": "1.25",
    }
    assert {name: numbers[name] for name in expected} == expected


def test_a_disagreement_shows_in_its_numbers(contrary: ResultStore, store: ResultStore) -> None:
    good, bad = generated_numbers(store), generated_numbers(contrary)
    changed = {name for name in good if good[name] != bad[name]}
    assert {"GlooHangs", "GlooAgree", "GlooMismatches", "MatrixHangs", "MatrixAgree", "MatrixMismatches"} <= changed
    assert all(name.startswith(("Gloo", "Matrix")) for name in changed)
    assert (bad["GlooMismatches"], bad["MatrixMismatches"]) == ("1", "1")


@pytest.mark.parametrize("name", REPRODUCED)
def test_a_result_that_is_missing_is_named(name: str, bodies: Bodies, tmp_path: Path) -> None:
    del bodies[name]
    with pytest.raises(ValueError, match=rf"there are no results in .*/{name}/cpu.json; run"):
        generated_numbers(samples.write(tmp_path / "partial", bodies))


def test_all_results_are_quoted(bodies: Bodies) -> None:
    assert set(bodies) == {*REPRODUCED, multi_gpu.NAME} >= {order_space.NAME, presence_patterns.NAME, pipeline.NAME}
