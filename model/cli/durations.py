"""`python -m model simulate` and `period`: how long a program takes, once and when it is repeated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model.cli.arguments import OptionalPath, TimedArguments
from model.display.text import table
from model.entry.output import check_picture, show

if TYPE_CHECKING:
    from model.events.simulator import Simulation
    from model.events.throughput import Period
    from model.events.timing import Timing

MAX_DRAWN = 100_000
"""Instructions of a run that is drawn or written as a timeline."""

MAX_SHOWN = 40
"""Rows of a critical circuit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulate(TimedArguments):
    """Simulate a program without wildcards: 0 if it finishes, 1 if it hangs, 2 on bad usage."""

    draw: OptionalPath = None
    """Draw the timeline of every rank to this file (.png, .svg, .pdf)."""
    chrome: OptionalPath = None
    """Write the timeline to this file, as JSON for chrome://tracing or Perfetto."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        from model.events.simulator import simulate

        timing = self.timing()
        if self.draw is not None:
            check_picture(self.draw)
        columns = self.columns()
        if (self.draw or self.chrome) and len(columns.index) > MAX_DRAWN:
            raise ValueError(f"a timeline of {len(columns.index)} operations cannot be read; give {MAX_DRAWN} or fewer")
        result = simulate(columns, timing)
        if self.draw is not None or self.chrome is not None:
            self._timeline(result, timing)
        seconds = None if self.in_units or result.makespan is None else result.makespan * timing.tick
        data = {"hangs": result.hangs, "makespan": result.makespan, "seconds": seconds, "events": result.events}
        show(self.json, data, lambda: _run_lines(result, seconds))
        return 1 if result.hangs else 0

    def _timeline(self, result: Simulation, timing: Timing) -> None:
        from model.semantics.lowering import lower
        from model.traces.gantt_chart import gantt
        from model.traces.simulated import simulated_spans
        from model.traces.timeline import chrome_trace

        program = self.lists()
        spans = simulated_spans(lower(program, self.libraries(program)), result, timing)
        if self.chrome is not None:
            self.chrome.write_text(json.dumps(chrome_trace(spans, timing)))
        if self.draw is not None:
            unit, tick = ("transfers", 1.0) if self.in_units else ("seconds", timing.tick)
            title = f"{self.program}, {result.columns.ranks} ranks, under {self.semantics}"
            gantt(spans, title=title, unit=unit, tick=tick).savefig(self.draw)


def _run_lines(result: Simulation, seconds: float | None) -> Iterator[str]:
    if result.hangs:
        yield f"it hangs, after {result.events} events; `python -m model check` says who waits for whom"
    elif seconds is None:
        yield f"makespan: {result.makespan} transfers one after another, {result.events} events"
    else:
        yield f"makespan: {seconds:.6g} s, {result.events} events"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodOf(TimedArguments):
    """The time per round of a program that repeats: 0, or 1 if no round is ever done, or 2 on bad usage."""

    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        from model.events.throughput import period

        timing = self.timing()
        result = period(self.columns(), timing)
        seconds = None if self.in_units or result.ticks is None else float(result.ticks * timing.tick)
        show(self.json, {**result.to_json(), "seconds": seconds}, lambda: _period_lines(result, seconds))
        return 1 if result.ticks is None else 0


def _period_lines(result: Period, seconds: float | None) -> Iterator[str]:
    if result.ticks is None:
        yield "no round is ever done: a circuit carries no token"
    elif seconds is None:
        yield f"{result.ticks} transfers a round: the critical circuit has {result.weight}, and {result.tokens} tokens"
    else:
        yield f"{seconds:.6g} s a round, {result.tokens} tokens on the critical circuit"
    rows = [[hop.rank, hop.at, hop.waits_for] for hop in result.circuit[:MAX_SHOWN]]
    yield table(["rank", "in its operation", "waits for"], rows)
    if len(result.circuit) > MAX_SHOWN:
        yield f"and {len(result.circuit) - MAX_SHOWN} more"
