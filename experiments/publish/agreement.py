"""Stored cells of a hang matrix, reduced: what was measured, and whether the model had predicted it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

EXPECTED = {"ok": "ok", "deadlock": "hang", "livelock": "hang"}
"""What must be measured where the model predicts so."""


def measured(record: Mapping[str, Any]) -> str:
    """`ok` or `hang` where every sample of a stored cell says so, else `unclear`."""
    verdicts = {sample["verdict"] for sample in record["samples"]}
    return verdicts.pop() if len(verdicts) == 1 else "unclear"


def agrees(record: Mapping[str, Any]) -> bool:
    """Whether every sample of a stored cell is what the model predicted; one that was not measured is not."""
    return measured(record) == EXPECTED.get(record["predicted"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """A matrix reduced to counts."""

    cells: int
    samples: int
    predicted_hangs: int
    measured_hangs: int
    unclear: int
    mismatches: int


def agreement(stored: Sequence[Mapping[str, Any]]) -> Agreement:
    """The counts of stored cells."""
    seen = Counter(measured(record) for record in stored)
    return Agreement(
        cells=len(stored),
        samples=sum(len(record["samples"]) for record in stored),
        predicted_hangs=sum(EXPECTED.get(record["predicted"]) == "hang" for record in stored),
        measured_hangs=seen["hang"],
        unclear=seen["unclear"],
        mismatches=sum(not agrees(record) for record in stored),
    )


def mismatches(stored: Iterable[Mapping[str, Any]]) -> list[str]:
    """A line for each cell that disagrees."""
    return [
        f"{record['ordering']}, P={record['ranks']}, {record['nbytes']} B, {record['style']}: "
        f"predicted {record['predicted']}, measured {measured(record)}"
        for record in stored
        if not agrees(record)
    ]
