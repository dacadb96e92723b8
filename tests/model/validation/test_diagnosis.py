"""Reported hangs, explained: what decides is found by the model, and it has every hang where users saw it."""

import pytest

from model.validation.diagnosis import explain
from model.validation.reported_hangs import ReportedHang, known_hangs


@pytest.mark.parametrize("hang", known_hangs(), ids=lambda hang: hang.name)
def test_the_model_agrees_with_every_report(hang: ReportedHang) -> None:
    explanation = explain(hang)
    assert explanation.agrees and explanation.result.hangs
    assert hang.library in explanation.hangs
    assert not set(explanation.hangs) & set(explanation.finishes)
    assert bool(explanation.proposal) is not bool(explanation.why_no_order)
    data = explanation.to_json()
    assert data["report"] == hang.name and data["why_no_order"] == (explanation.why_no_order or None)


def test_what_decides_torch_ccl_72() -> None:
    """An isend that waits for its receive, which is posted only after it; a library that stores would do as well."""
    explanation = explain(next(hang for hang in known_hangs() if hang.name == "torch-ccl#72"))
    assert "isend_returns" in explanation.parameters
    assert all(variation.before != variation.after for variation in explanation.deciding)


def test_nothing_decides_where_a_message_has_one_end_only() -> None:
    explanation = explain(next(hang for hang in known_hangs() if hang.name == "nccl#2130"))
    assert explanation.deciding == () and "the other end is missing" in explanation.why_no_order
