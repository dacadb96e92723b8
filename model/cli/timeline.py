"""`python -m model timeline`: who did what when in a recorded run, and where the time went."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro
from tabulate import tabulate

from model.cli.conform import located
from model.cli.output import show
from model.events.timing import Timing
from model.traces.jsonl import read
from model.traces.recorded import INSIDE, TimeBreakdown, recorded_spans, time_breakdowns, window

if TYPE_CHECKING:
    from model.traces.spans import SpanKind

NANOSECOND = Timing(tick=1e-9)

DRAWN = 20_000  # spans of a picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Show a recorded run: where each rank's time went, and with --draw and --chrome when. 0, or 2 on bad usage.

    A rank holds a batch, or is idle. While it holds one its stage computes, or is in a bubble; sends, receives, waits
    for another rank and the loop's own work lie inside bubbles.
    """

    trace: tyro.conf.Positional[Path]
    """A trace in JSON lines, or the folder in which the engine recorded one (its `record`)."""
    since: float = 0.0
    """Leave out what was before, in seconds from the first step."""
    until: float = math.inf
    """Leave out what was after."""
    draw: Path | None = None
    """Draw the timeline of every rank to this file (.png, .svg, .pdf)."""
    chrome: Path | None = None
    """Write the timeline to this file, as JSON for chrome://tracing or Perfetto."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        if not 0 <= self.since < self.until:
            raise ValueError(f"since is {self.since} and until {self.until}; give 0 <= since < until, in seconds")
        if self.draw is not None:
            from model.verdict.draw import check_path  # matplotlib is slow to import

            check_path(self.draw)
        trace = read(located(self.trace))
        spans = recorded_spans(trace)
        last = max((span.end or span.begin for span in spans), default=0)
        if self.since > 0 or self.until < math.inf:
            spans = window(spans, round(self.since * 1e9), min(last, round(min(self.until, 1e9) * 1e9)))
        if self.draw is not None:
            from model.traces.gantt import gantt
            from model.verdict import draw  # matplotlib is slow to import

            if len(spans) > DRAWN:
                raise ValueError(f"a picture of {len(spans)} spans cannot be read; choose fewer by since and until")
            libraries = ", ".join(dict.fromkeys(trace.semantics.values()))
            title = f"{self.trace}: {trace.ranks} ranks on {libraries}"
            draw.save(gantt(spans, title=title, unit="seconds", tick=1e-9), self.draw)
        if self.chrome is not None:
            from model.traces import timeline

            events = timeline.chrome_trace(spans, NANOSECOND, lanes=("host", "device"))
            self.chrome.write_text(json.dumps(events), encoding="utf-8")
        table = time_breakdowns(spans)
        show(self.json, {"ranks": [_json(item) for item in table]}, lambda: _lines(table))
        return 0


def _json(item: TimeBreakdown) -> dict[str, object]:
    parts = {kind: item.of[kind] / 1e9 for kind in ("compute", "bubble", *INSIDE)}
    return {"rank": item.rank, "total": item.total / 1e9, "with_batch": item.busy / 1e9, "seconds": parts}


def _lines(table: Sequence[TimeBreakdown]) -> Iterator[str]:
    kinds: list[SpanKind] = ["compute", "bubble", *(kind for kind in INSIDE if any(item.of[kind] for item in table))]
    yield str(
        tabulate(
            [
                [item.rank, f"{item.total / 1e9:.3f} s", f"{item.busy / 1e9:.3f} s"]
                + [f"{item.part(kind):.1%}" for kind in kinds]
                for item in table
            ],
            headers=["rank", "recorded", "with a batch", *kinds],
            disable_numparse=True,
        )
    )
    yield ""
    yield "shares are of the time with a batch; what follows bubble lies inside it, or beside compute on a device"
