"""`python -m model suite`: does the model agree with a suite of labelled cases?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tyro
from tabulate import tabulate

from model.cli.output import advance, bar, show
from model.validation import suite


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Judge labelled cases by the contract of the MPI standard: 0 if all agree, 1 if not, 2 on bad usage."""

    file: tyro.conf.Positional[Path]
    """A JSON file: {"cases": [{"expected": "ok" or "error", "buffering": "zero", "programs": [...]}, ...]}."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        cases = suite.load(self.file)
        with bar("cases", total=len(cases)) as shown:
            outcomes = list(suite.run(cases, progress=lambda done: advance(shown, done)))
        wrong = [outcome for outcome in outcomes if not outcome.agrees]
        data = {
            "total": len(outcomes),
            "agree": len(outcomes) - len(wrong),
            "disagreements": [outcome.to_json() for outcome in wrong],
        }
        show(self.json, data, lambda: _lines(outcomes, wrong))
        return 1 if wrong else 0


def _lines(outcomes: list[suite.Outcome], wrong: list[suite.Outcome]) -> Iterator[str]:
    yield f"{len(outcomes) - len(wrong)} of {len(outcomes)} cases agree"
    if wrong:
        rows = [[item.number, item.name, item.expected, item.found, item.error] for item in wrong]
        yield tabulate(rows, headers=["case", "name", "expected", "found", "why undecided"], tablefmt="simple")
