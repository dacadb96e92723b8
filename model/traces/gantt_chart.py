"""The picture of a timeline: a bar a rank and lane, in colours of what it does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from model.display.figure import Picture
from model.traces.spans import Span, SpanKind

COLOURS: dict[SpanKind, str] = {
    "bubble": "#d9d9d9",
    "compute": "#0072b2",
    "transfer": "#e69f00",
    "send": "#009e73",
    "receive": "#56b4e9",
    "wait": "#d55e00",
    "loop": "#cc79a7",
}
"""Colours that colour-blind readers can tell apart, in the order in which they are drawn; others are left out."""

MAX_OUTLINED = 500
"""Spans from which on a picture has no room for the lines between them."""

MAX_HEIGHT = 30.0
"""Inches; rows of more ranks are lower, and not every one has its name."""

ROW, LOW_ROW, NAMED_ROW = 0.32, 0.2, 0.16
"""Inches: the height of a row where there are few, of one of many, and the least that has room for a name."""

MAX_ROOMY = 24
"""Rows up to which they have room."""

UNITS = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9))


def unit_of(seconds: float) -> tuple[str, float]:
    """The unit in which a duration has one to three digits before its point, and its seconds."""
    return next((unit for unit in UNITS if seconds >= unit[1]), UNITS[-1])


def gantt(spans: Sequence[Span], *, title: str = "", unit: str = "transfers", tick: float = 1.0) -> Picture:
    """A bar a rank and lane, rank 0 on top; what a rank never leaves runs to the right edge, hatched.

    tick: how much of `unit` one tick is; seconds are shown as s, ms, us or ns, as the length of the run asks for.
    """
    rows = sorted({(span.rank, span.lane) for span in spans})
    row_numbers = {row: number for number, row in enumerate(rows)}
    last = max((span.end or span.begin for span in spans), default=0)
    first = min((span.begin for span in spans), default=0)
    edge = max(1, last + round((last - first) * 0.05))
    if unit == "seconds":
        unit, scale = unit_of((edge - first) * tick)
        tick, unit = tick / scale, f"time in {unit}"
    height = ROW if len(rows) <= MAX_ROOMY else min(LOW_ROW, MAX_HEIGHT / len(rows))
    figure = Picture(figsize=(8, 1.1 + height * max(1, len(rows))), layout="constrained")
    axes = figure.add_subplot()
    bars: dict[tuple[SpanKind, bool, int], list[tuple[float, float]]] = defaultdict(list)
    for span in spans:
        end = edge if span.end is None else span.end
        row = row_numbers[span.rank, span.lane]
        bars[span.kind, span.end is None, row].append((span.begin * tick, (end - span.begin) * tick))
    _draw_bars(axes, bars, lines=len(spans) < MAX_OUTLINED)
    every = -(-NAMED_ROW // height) if height < NAMED_ROW else 1
    named = range(0, len(rows), int(every))
    axes.set_yticks(named, [_name(*rows[at]) for at in named])
    axes.set(xlim=(first * tick, edge * tick), ylim=(max(1, len(rows)) - 0.5, -0.5), xlabel=unit)
    axes.set_title(title, fontsize=10)
    figure.legend(handles=_legend(bars), loc="outside lower center", ncols=len(COLOURS) + 1, frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _name(rank: int, lane: int) -> str:
    return f"rank {rank}, queue {lane}" if lane else f"rank {rank}"


def _draw_bars(axes: Axes, bars: dict[tuple[SpanKind, bool, int], list[tuple[float, float]]], *, lines: bool) -> None:
    bubbles = any(kind == "bubble" for kind, _, _ in bars)
    for kind, colour in COLOURS.items():
        height = 0.5 if bubbles and kind not in ("bubble", "compute") else 0.8  # what lies inside leaves a rim
        for (other, stuck, row), found in bars.items():
            if other == kind:
                axes.broken_barh(
                    found,
                    (row - height / 2, height),
                    facecolors=colour,
                    edgecolor="white",
                    linewidth=0.4 if lines else 0,
                    hatch="///" if stuck else None,
                )


def _legend(bars: dict[tuple[SpanKind, bool, int], list[tuple[float, float]]]) -> list[Patch]:
    """The colours that are there, and the hatching."""
    shown = {kind for kind, _, _ in bars}
    handles = [Patch(facecolor=colour, label=kind) for kind, colour in COLOURS.items() if kind in shown]
    if any(stuck for _, stuck, _ in bars):
        handles.append(Patch(facecolor="#888888", edgecolor="white", hatch="///", label="never over"))
    return handles
