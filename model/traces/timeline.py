"""Who does what when: the spans of a run, simulated or recorded, as a Chrome trace (`gantt_chart` draws them)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from model.display import html
from model.display.shown import Shown
from model.display.text import table
from model.events.timing import UNIT, Timing
from model.traces.spans import Span, SpanKind

if TYPE_CHECKING:
    from model.display.figure import Picture


NANOSECOND = Timing(tick=1e-9)
"""Of recorded runs."""

MAX_DRAWN = 20_000
"""Spans of a picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline(Shown):
    """A run on a time axis. timing: what a tick is; without durations every transfer takes one."""

    spans: tuple[Span, ...]
    title: str
    timing: Timing
    lanes: tuple[str, ...] = ("host",)

    def draw(self) -> Picture:
        """A bar a rank. Raises ValueError where there are more spans than a picture can hold."""
        from model.traces.gantt_chart import gantt  # matplotlib is slow to import

        if len(self.spans) > MAX_DRAWN:
            raise ValueError(f"{len(self.spans)} spans make no picture that can be read; give a shorter run")
        unit, tick = ("transfers", 1.0) if self.timing == UNIT else ("seconds", self.timing.tick)
        return gantt(self.spans, title=self.title, unit=unit, tick=tick)

    def chrome_trace(self) -> dict[str, Any]:
        """JSON for chrome://tracing or Perfetto."""
        return chrome_trace(self.spans, self.timing, self.lanes)

    def _lines(self) -> Iterator[str]:
        yield self.title
        last = max((span.end or span.begin for span in self.spans), default=0)
        of: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for span in self.spans:
            of[span.rank][span.kind] += (last if span.end is None else span.end) - span.begin
        rows = [[rank, *(of[rank][kind] * self._tick for kind in get_args(SpanKind))] for rank in sorted(of)]
        shown = [0, *(at for at in range(1, len(get_args(SpanKind)) + 1) if any(row[at] for row in rows))]
        names = ["rank", *get_args(SpanKind)]
        yield table([names[at] for at in shown], [[row[at] for at in shown] for row in rows])

    def _parts(self) -> Iterator[str]:
        if len(self.spans) <= MAX_DRAWN:
            yield self.draw().svg()
        else:
            yield html.code(str(self))

    def _table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        columns = ("rank", "lane", "kind", "op", "begin", "end")
        tick = self._tick
        return columns, [
            (span.rank, span.lane, span.kind, span.op, span.begin * tick, None if span.end is None else span.end * tick)
            for span in self.spans
        ]

    @property
    def _tick(self) -> float:
        return 1 if self.timing == UNIT else self.timing.tick


def chrome_trace(spans: Sequence[Span], timing: Timing, lanes: Sequence[str] = ("host",)) -> dict[str, Any]:
    """The spans in the trace event format that Chrome and Perfetto read: a process a rank, a thread a lane.

    lanes: their names; further ones are queues.
    """
    tracks = sorted({(span.rank, span.lane) for span in spans})
    last = max((span.end or span.begin for span in spans), default=0)
    return {
        "displayTimeUnit": "ms",
        "traceEvents": [
            {
                "ph": "X",
                "pid": span.rank,
                "tid": span.lane,
                "name": span.op,
                "cat": span.kind,
                "ts": span.begin * timing.tick * 1e6,
                "dur": ((last if span.end is None else span.end) - span.begin) * timing.tick * 1e6,
                "args": {"kind": span.kind, "stuck": span.end is None},
            }
            for span in spans
        ]
        + [_name("process_name", rank, 0, f"rank {rank}") for rank in sorted({rank for rank, _ in tracks})]
        + [
            _name("thread_name", rank, lane, lanes[lane] if lane < len(lanes) else f"queue {lane}")
            for rank, lane in tracks
        ],
    }


def _name(what: str, rank: int, lane: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "pid": rank, "tid": lane, "name": what, "args": {"name": name}}
