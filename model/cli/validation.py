"""`python -m model hangs` and `suite`: the model beside what others report of their programs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from model.cli.arguments import OptionalPath, check_file
from model.display.text import table
from model.entry.output import progress_bar, show
from model.program.text_form import program_text

if TYPE_CHECKING:
    from model.validation.diagnosis import Explanation
    from model.validation.suite import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Hangs:
    """Explain reported hangs: 0 if the model has each hang and each cure as reported, 1 if not, 2 on bad usage."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Only the reports whose name holds one of these."""
    json: bool = False
    """Print one JSON object."""
    draw: OptionalPath = None
    """Draw who waits for whom of each report to this folder, as PNG."""

    def run(self) -> int:
        from model.validation.diagnosis import explain
        from model.validation.reported_hangs import known_hangs

        chosen = [item for item in known_hangs() if not self.names or any(name in item.name for name in self.names)]
        if not chosen:
            known = ", ".join(item.name for item in known_hangs())
            raise ValueError(f"no report is called {', '.join(self.names)}; choose among {known}")
        if self.draw is not None:
            self.draw.mkdir(parents=True, exist_ok=True)
        explained = []
        with progress_bar("reports", total=len(chosen)) as progress:
            for hang in chosen:
                explained.append(explain(hang))
                progress(len(explained))
        if self.draw is not None:
            from model.verdict.views.draw import wait_for_graph  # matplotlib is slow to import

            for item in explained:
                title = f"{item.result.verdict}: {item.hang.name}, on {item.hang.library}"
                figure = wait_for_graph(item.result, ranks=len(item.hang.program), title=title)
                figure.savefig(self.draw / f"{re.sub(r'[^a-zA-Z0-9]+', '-', item.hang.name).strip('-')}.png")
        data = {"reports": [item.to_json() for item in explained], "agree": sum(item.agrees for item in explained)}
        show(self.json, data, lambda: (line for item in explained for line in _hang_lines(item)))
        return 0 if all(item.agrees for item in explained) else 1


def _hang_lines(item: Explanation) -> Iterator[str]:
    """One report for people: the program, why it hangs and where, and what cures it."""
    hang = item.hang
    yield f"{hang.name}: {hang.reported}"
    yield from (f"    {line}" for line in program_text(hang.program).splitlines())
    waits = " -> ".join(f"{blocked.rank} in {blocked.op}" for blocked in item.result.circuit)
    yield f"  on {hang.library}: {item.result.verdict}; who waits for whom: {waits}"
    decides = "; ".join(map(str, item.deciding)) or "no single parameter: it hangs whatever the library does"
    yield f"  decides: {decides}"
    yield f"  hangs under: {', '.join(item.hangs)}"
    yield f"  finishes under: {', '.join(item.finishes) or 'none'}"
    for cure, verdict in item.cures:
        said = "reported cure" if cure.works else "reported to be no cure"
        yield f"  {said}: {cure.what}{f' ({cure.library})' if cure.library else ''}: {verdict}"
    if item.proposal is not None:
        yield f"  cure: {item.proposal.what}"
    elif item.why_no_order:
        yield f"  no order of the messages is a cure: {item.why_no_order}"
    if hang.unexplained:
        yield f"  not explained: {hang.unexplained}"
    if not item.agrees:
        yield "  THE MODEL DISAGREES with the report"
    yield ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Judge labelled cases by the contract of the MPI standard: 0 if all agree, 1 if not, 2 on bad usage."""

    file: tyro.conf.Positional[Path]
    """A JSON file: {"cases": [{"expected": "ok" or "error", "buffering": "zero", "programs": [...]}, ...]}."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        from model.validation import suite

        check_file(self.file, 'a suite, a JSON file {"cases": [...]}')
        cases = suite.load(self.file)
        with progress_bar("cases", total=len(cases)) as progress:
            outcomes = list(suite.run(cases, progress=progress))
        wrong = [outcome for outcome in outcomes if not outcome.agrees]
        data = {
            "total": len(outcomes),
            "agree": len(outcomes) - len(wrong),
            "disagreements": [outcome.to_json() for outcome in wrong],
        }
        show(self.json, data, lambda: _suite_lines(outcomes, wrong))
        return 1 if wrong else 0


def _suite_lines(outcomes: list[Outcome], wrong: list[Outcome]) -> Iterator[str]:
    yield f"{len(outcomes) - len(wrong)} of {len(outcomes)} cases agree"
    if wrong:
        rows = [[item.number, item.name, item.expected, item.found, item.error] for item in wrong]
        yield table(["case", "name", "expected", "found", "why undecided"], rows)
