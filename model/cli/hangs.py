"""`python -m model hangs`: the hangs that users reported, explained."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tyro

from model.cli.output import advance, bar, show
from model.program.text_form import program_text
from model.validation.diagnosis import Explanation, explain
from model.validation.reported_hangs import known_hangs


@dataclass(frozen=True, slots=True, kw_only=True)
class Hangs:
    """Explain reported hangs: 0 if the model has each hang and each cure as reported, 1 if not, 2 on bad usage."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Only the reports whose name holds one of these."""
    json: bool = False
    """Print one JSON object."""
    draw: Path | None = None
    """Draw who waits for whom of each report to this folder, as PNG."""

    def run(self) -> int:
        chosen = [item for item in known_hangs() if not self.names or any(name in item.name for name in self.names)]
        if not chosen:
            known = ", ".join(item.name for item in known_hangs())
            raise ValueError(f"no report is called {', '.join(self.names)}; choose among {known}")
        if self.draw is not None:
            self.draw.mkdir(parents=True, exist_ok=True)
        explained = []
        with bar("reports", total=len(chosen)) as shown:
            for hang in chosen:
                explained.append(explain(hang))
                advance(shown, len(explained))
        if self.draw is not None:
            from model.verdict import draw  # matplotlib is slow to import

            for item in explained:
                figure = draw.wait_for_graph(item.result, ranks=len(item.hang.program), title=item.hang.name)
                draw.save(figure, self.draw / f"{re.sub(r'[^a-zA-Z0-9]+', '-', item.hang.name).strip('-')}.png")
        data = {"reports": [item.to_json() for item in explained], "agree": sum(item.agrees for item in explained)}
        show(self.json, data, lambda: (line for item in explained for line in _lines(item)))
        return 0 if all(item.agrees for item in explained) else 1


def _lines(item: Explanation) -> Iterator[str]:
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
