"""Figures, from results only. Colours are those of Okabe and Ito, which colour-blind people can tell apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from experiments.publish.agreement import EXPECTED, agrees, measured
from experiments.publish.report import MATRICES, speed_runs
from experiments.records.paths import shown as where
from experiments.records.results import ResultStore
from experiments.serving import pipeline
from experiments.sweeps import order_space
from model.display.figure import Picture

BLUE, SKY, ORANGE, VERMILION, GREY = "#0072B2", "#A6D8F5", "#E69F00", "#D55E00", "#999999"
COLOURS = {"ok": SKY, "hang": VERMILION, "unclear": GREY}
WORDS = {"ok": "finished", "hang": "hung", "unclear": "unclear"}

UNDATED: Mapping[str, Mapping[str, Any]] = {"png": {"Software": None}, "pdf": {"CreationDate": None}}
"""Metadata under which the same results give the same file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """The cells of one library at sizes that behaved alike."""

    title: str
    cells: Sequence[Mapping[str, Any]]


def draw_all(store: ResultStore) -> list[Path]:
    """Every figure for which there are results, as PNG beside them; the files."""
    drawings: list[tuple[str, tuple[str, ...], Callable[[ResultStore], Figure]]] = [
        ("hang_matrix", tuple(MATRICES), hang_matrix),
        ("makespans", (order_space.NAME,), makespans),
        ("serving", (pipeline.NAME,), serving_speed),
    ]
    return [
        save(draw(store), store.paths.figure(name))
        for name, needs, draw in drawings
        if any(store.has(experiment) for experiment in needs)
    ]


def save(figure: Figure, path: Path) -> Path:
    """Write a figure, in the format of the path's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160, bbox_inches="tight", metadata=dict(UNDATED[path.suffix[1:]]))
    return path


def hang_matrix(store: ResultStore, *, columns: int = 2) -> Picture:
    """What was measured of every cell, and where the model predicted a hang. ValueError where there are no results."""
    measured_on = [(library, store.load(name)) for name, library in MATRICES.items() if store.has(name)]
    if not measured_on:
        folder = where(store.paths.root)
        raise ValueError(f"there is no hang matrix in {folder}; run `python -m experiments reproduce`")
    shown = [panel for library, result in measured_on for panel in _panels(library, result)]
    rows = -(-len(shown) // columns)
    figure = Picture(figsize=(4.6 * columns, 1.75 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for axis, panel in zip(axes, shown, strict=False):
        _draw_panel(axis, panel)
    for axis in list(axes)[len(shown) :]:
        axis.axis("off")
    seen = {measured(cell) for panel in shown for cell in panel.cells}
    handles: list[Any] = [Patch(color=COLOURS[verdict], label=WORDS[verdict]) for verdict in COLOURS if verdict in seen]
    handles.append(_mark("o", "hang predicted"))
    if not all(agrees(cell) for panel in shown for cell in panel.cells):
        handles.append(_mark("X", "prediction and measurement disagree"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, frameon=False)
    return figure


def makespans(store: ResultStore) -> Picture:
    """How many of the 2^P orderings take how many steps for one round."""
    found = store.load(order_space.NAME)["spaces"]
    figure = Picture(figsize=(6, 3.4), layout="constrained")
    axis = figure.subplots()
    points = [
        (space["ranks"], int(steps), count / space["orderings"])
        for space in found
        for steps, count in space["makespan"].items()
    ]
    ranks, steps, shares = zip(*points, strict=True)
    norm = LogNorm(vmin=min(shares), vmax=1)
    axis.scatter(ranks, steps, c=shares, norm=norm, cmap="cividis_r", marker="s", s=70, linewidths=0)
    for name, marker in (("parity", "o"), ("last-sends-first", "^")):
        named = [space["named"][name]["makespan"] for space in found]
        axis.plot([space["ranks"] for space in found], named, marker, mfc="none", mec=VERMILION, mew=1.4, label=name)
    axis.set_xlabel("ranks P")
    axis.set_ylabel("steps of one round")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(frameon=False, loc="upper left")
    figure.colorbar(ScalarMappable(norm=norm, cmap="cividis_r"), ax=axis, label="share of the orderings")
    return figure


def serving_speed(store: ResultStore) -> Picture:
    """Throughput and times of the serving runs at each PP: bars are means, points are runs."""
    runs = speed_runs(store.load(pipeline.NAME))
    figure = Picture(figsize=(7, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    _bars(left, {pp: [run.tokens_per_s for run in found] for pp, found in runs.items()}, colour=SKY)
    left.set_ylabel("new tokens per second")
    _bars(right, {pp: [run.latency_s for run in found] for pp, found in runs.items()}, colour=SKY, label="last token")
    _bars(right, {pp: [run.ttft_s for run in found] for pp, found in runs.items()}, colour=ORANGE, label="first token")
    right.set_ylabel("seconds to a request's token")
    right.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
    return figure


def _bars(axis: Axes, values: Mapping[int, Sequence[float]], *, colour: str, label: str | None = None) -> None:
    names = [str(pp) for pp in values]
    axis.bar(names, [mean(found) for found in values.values()], color=colour, width=0.6, label=label)
    for name, found in zip(names, values.values(), strict=True):
        axis.plot([name] * len(found), found, "o", color="black", markersize=3)
    axis.set_xlabel("pipeline stages (PP)")
    axis.spines[["top", "right"]].set_visible(False)


def _panels(library: str, result: Mapping[str, Any]) -> list[Panel]:
    """One panel for each run of sizes at which everything came out alike."""
    by_size: dict[int, dict[tuple[Any, ...], Mapping[str, Any]]] = {}
    for cell in result["cells"]:
        place = (cell["ordering"], cell["style"], cell["ranks"])
        by_size.setdefault(cell["nbytes"], {})[place] = cell
    groups: list[list[int]] = []
    for nbytes in sorted(by_size):
        alike = groups and _verdicts(by_size[groups[-1][-1]]) == _verdicts(by_size[nbytes])
        if alike:
            groups[-1].append(nbytes)
        else:
            groups.append([nbytes])
    return [
        Panel(
            title=f"{library}, {size(sizes[0])}" + (f" to {size(sizes[-1])}" if len(sizes) > 1 else ""),
            cells=list(by_size[sizes[0]].values()),
        )
        for sizes in groups
    ]


def _verdicts(cells: Mapping[Any, Mapping[str, Any]]) -> dict[Any, tuple[str, str]]:
    return {place: (measured(cell), cell["predicted"]) for place, cell in cells.items()}


def _draw_panel(axis: Axes, panel: Panel) -> None:
    orderings = list(dict.fromkeys(cell["ordering"] for cell in panel.cells))
    styles = list(dict.fromkeys(cell["style"] for cell in panel.cells))
    ranks = sorted({cell["ranks"] for cell in panel.cells})
    for cell in panel.cells:
        x = styles.index(cell["style"]) * (len(ranks) + 0.4) + ranks.index(cell["ranks"])
        y = orderings.index(cell["ordering"])
        axis.add_patch(Rectangle((x, y), 0.92, 0.92, color=COLOURS[measured(cell)], linewidth=0))
        if not agrees(cell):
            axis.plot(x + 0.46, y + 0.46, "X", color="black", markersize=6)
        elif EXPECTED.get(cell["predicted"]) == "hang":
            axis.plot(x + 0.46, y + 0.46, "o", color="black", markersize=2.5)
    axis.set_xlim(-0.2, len(styles) * (len(ranks) + 0.4))
    axis.set_ylim(len(orderings), 0)
    starts = [number * (len(ranks) + 0.4) for number in range(len(styles))]
    axis.set_xticks(
        [start + column + 0.46 for start in starts for column in range(len(ranks))],
        [str(count) for _ in styles for count in ranks],
        fontsize=7,
    )
    axis.set_yticks([row + 0.46 for row in range(len(orderings))], orderings, fontsize=8)
    for start, style in zip(starts, styles, strict=True):
        middle, above = (start + (len(ranks) - 0.08) / 2, 0), (0, 2)
        axis.annotate(style, middle, above, textcoords="offset points", ha="center", va="bottom", fontsize=8)
    axis.set_title(panel.title, fontsize=9, loc="left", pad=13)
    axis.set_xlabel("ranks", fontsize=7, labelpad=1)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def _mark(marker: str, label: str) -> Line2D:
    return Line2D([], [], color="black", marker=marker, markersize=4, linestyle="", label=label)


def size(nbytes: int) -> str:
    """A size as people write it: `64 KiB`, but `8113 B`."""
    for unit, one in (("MiB", 2**20), ("KiB", 2**10)):
        if nbytes >= one and nbytes % one == 0:
            return f"{nbytes // one} {unit}"
    return f"{nbytes} B"
