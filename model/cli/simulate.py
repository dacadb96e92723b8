"""`python -m model simulate`: run a program with durations, and show who does what when."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from model.cli.output import show
from model.cli.timed import Timed
from model.events.simulator import Simulation, simulate
from model.events.timing import Timing
from model.semantics.libraries import semantics
from model.semantics.lowering import lower

DRAWN = 100_000  # instructions of a run that is drawn or written as a trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulate(Timed):
    """Simulate a program without wildcards: 0 if it finishes, 1 if it hangs, 2 on bad usage."""

    draw: Path | None = None
    """Draw the timeline of every rank to this file (.png, .svg, .pdf)."""
    trace: Path | None = None
    """Write the timeline to this file, as JSON for chrome://tracing or Perfetto."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        timing = self.timing()
        if self.draw is not None:
            from model.verdict.draw import check_path  # matplotlib is slow to import

            check_path(self.draw)
        columns = self.columns()
        if (self.draw or self.trace) and len(columns.index) > DRAWN:
            raise ValueError(f"a timeline of {len(columns.index)} operations cannot be read; give {DRAWN} or fewer")
        found = simulate(columns, timing)
        if self.draw is not None or self.trace is not None:
            self._timeline(found, timing)
        seconds = None if self.in_units or found.makespan is None else found.makespan * timing.tick
        data = {"hangs": found.hangs, "makespan": found.makespan, "seconds": seconds, "events": found.events}
        show(self.json, data, lambda: _lines(found, seconds))
        return 1 if found.hangs else 0

    def _timeline(self, found: Simulation, timing: Timing) -> None:
        from model.traces import timeline
        from model.traces.gantt import gantt
        from model.traces.simulated import simulated_spans
        from model.verdict import draw  # matplotlib is slow to import

        given = simulated_spans(lower(self.made(), semantics(self.semantics)), found, timing)
        if self.trace is not None:
            self.trace.write_text(json.dumps(timeline.chrome_trace(given, timing)))
        if self.draw is not None:
            unit, tick = ("transfers", 1.0) if self.in_units else ("seconds", timing.tick)
            title = f"{self.program}, {found.columns.ranks} ranks, under {self.semantics}"
            draw.save(gantt(given, title=title, unit=unit, tick=tick), self.draw)


def _lines(found: Simulation, seconds: float | None) -> Iterator[str]:
    if found.hangs:
        yield f"it hangs, after {found.events} events; `python -m model check` says who waits for whom"
    elif seconds is None:
        yield f"makespan: {found.makespan} transfers one after another, {found.events} events"
    else:
        yield f"makespan: {seconds:.6g} s, {found.events} events"
