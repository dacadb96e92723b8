"""`python -m model conform` and `timeline`: a recorded run against the model, and where its time went."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from model.cli.arguments import OptionalPath, check_file
from model.display.text import table
from model.entry.output import check_picture, show

if TYPE_CHECKING:
    from model.traces.recorded import TimeBreakdown
    from model.traces.spans import Span, SpanKind

MAX_DRAWN = 20_000
"""Spans of a picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conform:
    """Hold a recorded run against the model: 0 if the model allows it, 1 if not, 2 on bad usage.

    A run that was cut short, or that hung, is allowed as the beginning of one.
    """

    trace: tyro.conf.Positional[Path]
    """A trace in JSON lines, or the folder in which the engine recorded one (its `trace`)."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        from model.traces.conformance import conform
        from model.traces.jsonl import read

        conformance = conform(read(located(self.trace)))
        show(self.json, conformance.to_json(), lambda: [str(conformance)])
        return 0 if conformance.allowed else 1


def located(path: Path) -> Path:
    """The trace of a folder, or the file itself; ValueError where there is none."""
    from model.traces.jsonl import FILE

    if path.is_dir():
        if not (path / FILE).is_file():
            raise ValueError(f"the folder {str(path)!r} holds no {FILE}; name one in which an engine wrote its trace")
        return path / FILE
    check_file(path, "a trace in JSON lines, or the folder in which an engine wrote one")
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineOf:
    """Show a recorded run: where each rank's time went, and with --draw and --chrome when. 0, or 2 on bad usage.

    A rank holds a batch, or is idle. While it holds one its stage computes, or is in a bubble; sends, receives, waits
    for another rank and the loop's own work lie inside bubbles.
    """

    trace: tyro.conf.Positional[Path]
    """A trace in JSON lines, or the folder in which the engine recorded one (its `trace`)."""
    since: float = 0.0
    """Leave out what was before, in seconds from the first step."""
    until: float = math.inf
    """Leave out what was after."""
    draw: OptionalPath = None
    """Draw the timeline of every rank to this file (.png, .svg, .pdf)."""
    chrome: OptionalPath = None
    """Write the timeline to this file, as JSON for chrome://tracing or Perfetto."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        from model.traces.jsonl import read
        from model.traces.recorded import recorded_spans, time_breakdowns, window

        if not 0 <= self.since < self.until:
            raise ValueError(f"since is {self.since} and until {self.until}; give 0 <= since < until, in seconds")
        if self.draw is not None:
            check_picture(self.draw)
        trace = read(located(self.trace))
        spans = recorded_spans(trace)
        last = max((span.end or span.begin for span in spans), default=0)
        if self.since > 0 or self.until < math.inf:
            spans = window(spans, round(self.since * 1e9), min(last, round(min(self.until, 1e9) * 1e9)))
        libraries = ", ".join(dict.fromkeys(trace.semantics.values()))
        self._write(spans, title=f"{self.trace}: {trace.ranks} ranks on {libraries}")
        breakdowns = time_breakdowns(spans)
        show(self.json, {"ranks": [_json(item) for item in breakdowns]}, lambda: _time_lines(breakdowns))
        return 0

    def _write(self, spans: Sequence[Span], *, title: str) -> None:
        """The picture and the timeline that were asked for."""
        if self.draw is not None:
            from model.traces.gantt_chart import gantt

            if len(spans) > MAX_DRAWN:
                raise ValueError(f"a picture of {len(spans)} spans cannot be read; choose fewer by since and until")
            gantt(spans, title=title, unit="seconds", tick=1e-9).savefig(self.draw)
        if self.chrome is not None:
            from model.events.timing import Timing
            from model.traces.timeline import chrome_trace

            events = chrome_trace(spans, Timing(tick=1e-9), lanes=("host", "device"))
            self.chrome.write_text(json.dumps(events), encoding="utf-8")


def _json(item: TimeBreakdown) -> dict[str, object]:
    from model.traces.recorded import INSIDE_BUBBLE

    parts = {kind: item.of[kind] / 1e9 for kind in ("compute", "bubble", *INSIDE_BUBBLE)}
    return {"rank": item.rank, "total": item.total / 1e9, "with_batch": item.busy / 1e9, "seconds": parts}


def _time_lines(breakdowns: Sequence[TimeBreakdown]) -> Iterator[str]:
    from model.traces.recorded import INSIDE_BUBBLE

    inside = (kind for kind in INSIDE_BUBBLE if any(item.of[kind] for item in breakdowns))
    kinds: list[SpanKind] = ["compute", "bubble", *inside]
    rows = [
        [
            item.rank,
            f"{item.total / 1e9:.3f} s",
            f"{item.busy / 1e9:.3f} s",
            *(f"{item.part(kind):.1%}" for kind in kinds),
        ]
        for item in breakdowns
    ]
    yield table(["rank", "recorded", "with a batch", *kinds], rows)
    yield ""
    yield "shares are of the time with a batch; what follows bubble lies inside it, or beside compute on a device"
