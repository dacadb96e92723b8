"""Who does what when: the spans of a run, simulated or recorded, as a Chrome trace and as a Gantt chart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from model.events.timing import Timing
from model.traces.spans import Span, SpanKind

COLOURS: dict[SpanKind, str] = {
    "bubble": "#d9d9d9",
    "compute": "#0072b2",
    "transfer": "#009e73",
    "send": "#009e73",
    "receive": "#56b4e9",
    "wait": "#d55e00",
    "loop": "#cc79a7",
}
"""Colours that colour-blind readers can tell apart, in the order in which they are drawn; others are left out."""

CROWD = 500
"""Spans from which on a picture has no room for the lines between them."""


def chrome_trace(found: Sequence[Span], timing: Timing, lanes: Sequence[str] = ("host",)) -> dict[str, Any]:
    """The spans in the trace event format that Chrome and Perfetto read: a process a rank, a thread a lane.

    lanes: their names; further ones are queues.
    """
    tracks = sorted({(span.rank, span.lane) for span in found})
    last = max((span.end or span.begin for span in found), default=0)
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
            for span in found
        ]
        + [_name("process_name", rank, 0, f"rank {rank}") for rank in sorted({rank for rank, _ in tracks})]
        + [
            _name("thread_name", rank, lane, lanes[lane] if lane < len(lanes) else f"queue {lane}")
            for rank, lane in tracks
        ],
    }


def _name(what: str, rank: int, lane: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "pid": rank, "tid": lane, "name": what, "args": {"name": name}}


def gantt(found: Sequence[Span], *, title: str = "", unit: str = "transfers", tick: float = 1.0) -> Figure:
    """A bar a rank and lane, rank 0 on top; what a rank never leaves runs to the right edge, hatched."""
    rows = sorted({(span.rank, span.lane) for span in found})
    last = max((span.end or span.begin for span in found), default=0)
    first = min((span.begin for span in found), default=0)
    edge = max(1, last + round((last - first) * 0.05))
    figure = Figure(figsize=(8, 0.8 + 0.32 * max(1, len(rows))), layout="constrained")
    axes = figure.add_subplot()
    together: dict[tuple[SpanKind, bool, int], list[tuple[float, float]]] = defaultdict(list)
    for span in found:
        end = edge if span.end is None else span.end
        bar = (span.begin * tick, (end - span.begin) * tick)
        together[span.kind, span.end is None, rows.index((span.rank, span.lane))].append(bar)
    bubbles = any(span.kind == "bubble" for span in found)
    for kind, colour in COLOURS.items():
        height = 0.5 if bubbles and kind not in ("bubble", "compute") else 0.8  # what lies inside leaves a rim
        for (other, stuck, row), bars in together.items():
            if other == kind:
                axes.broken_barh(
                    bars,
                    (row - height / 2, height),
                    facecolors=colour,
                    edgecolor="white",
                    linewidth=0.4 if len(found) < CROWD else 0,
                    hatch="///" if stuck else None,
                )
    axes.set_yticks(range(len(rows)), [f"rank {rank}" + (f", queue {lane}" if lane else "") for rank, lane in rows])
    axes.invert_yaxis()
    axes.set(xlim=(first * tick, edge * tick), xlabel=unit, title=title)
    shown = {kind for kind, _, _ in together}
    handles = [Patch(color=colour, label=kind) for kind, colour in COLOURS.items() if kind in shown]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
