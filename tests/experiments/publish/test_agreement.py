"""Stored cells reduced: a cell agrees only where every sample is what the model predicted."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.publish.agreement import agreement, agrees, measured, mismatches


def record(predicted: str, *verdicts: str) -> dict[str, Any]:
    place = {"ordering": "parity", "ranks": 3, "nbytes": 1, "style": "send"}
    return {**place, "predicted": predicted, "samples": [{"verdict": verdict} for verdict in verdicts]}


@pytest.mark.parametrize(
    ("predicted", "verdicts", "outcome", "agreed"),
    [
        ("ok", ["ok", "ok"], "ok", True),
        ("deadlock", ["hang", "hang"], "hang", True),
        ("ok", ["hang"], "hang", False),
        ("deadlock", ["ok"], "ok", False),
        ("ok", ["ok", "ok", "hang"], "unclear", False),
        ("deadlock", ["hang", "ok"], "unclear", False),
        ("ok", ["ok", "unclear"], "unclear", False),
        ("deadlock", ["unclear"], "unclear", False),
        ("ok", [], "unclear", False),
        ("lost message", ["hang"], "hang", False),
        ("unclear", ["unclear"], "unclear", False),
    ],
)
def test_one_sample_that_differs_is_enough(predicted: str, verdicts: list[str], outcome: str, agreed: bool) -> None:
    cell = record(predicted, *verdicts)
    assert measured(cell) == outcome
    assert agrees(cell) is agreed
    assert len(mismatches([cell])) == (not agreed)


records = st.builds(
    lambda predicted, verdicts: record(predicted, *verdicts),
    st.sampled_from(["ok", "deadlock"]),
    st.lists(st.sampled_from(["ok", "hang", "unclear"]), max_size=3),
)


@given(stored=st.lists(records))
def test_counts_are_those_of_the_cells(stored: list[dict[str, Any]]) -> None:
    found = agreement(stored)
    assert found.cells == len(stored)
    assert found.samples == sum(len(cell["samples"]) for cell in stored)
    assert found.measured_hangs + found.unclear + sum(measured(cell) == "ok" for cell in stored) == found.cells
    assert found.mismatches == len(mismatches(stored))
    assert found.unclear <= found.mismatches
    assert abs(found.predicted_hangs - found.measured_hangs) <= found.mismatches


def test_a_mismatch_names_its_cell() -> None:
    assert mismatches([record("ok", "hang"), record("ok", "ok")]) == [
        "parity, P=3, 1 B, send: predicted ok, measured hang"
    ]
