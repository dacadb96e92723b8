"""Pictures of the model: who waits for whom. Lengths are in inches; a picture is as large as what stands in it."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch

from model.display.figure import Picture
from model.verdict.result import Result
from model.verdict.views.folding import Folded, Node, fold

STUCK, FREE, UNLISTED, WAIT = "#d55e00", "#009e73", "#999999", "#d55e00"
"""Colours of a palette that colour-blind readers can tell apart."""

_FILL = {"stuck": STUCK, "finished": FREE, "unlisted": UNLISTED}
_MEANING = {"stuck": "stuck in the operation beside it", "finished": "has finished", "unlisted": "not listed"}

NODE = 0.32
"""Radius of a node."""

LINE, LETTER = 0.165, 0.0755
"""Height of a line and width of a letter of a label, of 9 points in letters of one width."""

WRAP = 36
"""Letters of a line of a label; longer operations take more lines."""

MIN_WIDTH = 4.6


@dataclass(frozen=True, slots=True)
class _Label:
    """Text beside a node. x, y: the middle of the edge that faces the node; side: 1 where it stands to the right."""

    node: int
    text: str
    side: int
    x: float
    y: float

    @property
    def width(self) -> float:
        return LETTER * max(map(len, self.text.split("\n")))

    @property
    def height(self) -> float:
        return LINE * (self.text.count("\n") + 1)


def wait_for_graph(result: Result, *, ranks: int | None = None, title: str = "") -> Picture:
    """The ranks on a circle, stuck ones in vermilion with the operation they are in, an arrow to whom each waits for.

    Arrows of the circuit are bold. For a verdict of ok the ranks stand without arrows. Of many ranks, those that do
    alike are folded into one node with their number (`folding`). Without ranks and title: those of the
    result's subject.
    """
    if not title:
        title = result.verdict if result.subject is None else f"{result.verdict}: {result.subject}"
    if ranks is None and result.subject is not None:
        ranks = result.subject.ranks
    if ranks is None:
        ranks = 1 + max((max(item.rank, *item.waits_for) for item in result.blocked), default=0)
    graph = fold(result, ranks)
    radius = _radius(len(graph.nodes))
    places = [_place(number, len(graph.nodes), radius) for number in range(len(graph.nodes))]
    labels = list(_labels(graph.nodes, places, radius))
    title = "\n".join(textwrap.wrap(title, 72))
    width, height = _half_sizes(labels, radius)
    figure = Picture(
        figsize=(max(2 * width, MIN_WIDTH, 0.09 * _longest(title)), 2 * height + 1.1), layout="constrained"
    )
    axes = figure.add_subplot()
    axes.set(xlim=(-width, width), ylim=(-height, height))
    axes.set_title(title, fontsize=10)
    axes.set_axis_off()
    axes.set_aspect("equal")
    _draw_arrows(figure, graph, places)
    _draw_nodes(figure, graph.nodes, places)
    for label in labels:
        _draw_label(figure, label, places[label.node])
    handles = list(_legend(graph))
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure


def _longest(text: str) -> int:
    return max(map(len, text.split("\n")))


def _radius(count: int) -> float:
    """Of a circle on which so many nodes have room, and arrows between them."""
    return 0.0 if count == 1 else max(0.9, count * 2.6 * NODE / (2 * math.pi))


def _place(number: int, count: int, radius: float) -> tuple[float, float]:
    """Node 0 on top, the others clockwise, as a clock face."""
    turn = 2 * math.pi * number / count
    return radius * math.sin(turn), radius * math.cos(turn)


def _labels(nodes: Sequence[Node], places: Sequence[tuple[float, float]], radius: float) -> Iterator[_Label]:
    """Labels left and right of the circle, none over another: from its middle outwards each takes the next free room.

    Nothing is cut: a long operation has more lines, and the picture more height.
    """
    outside = radius + NODE + 0.12
    for side in (1, -1):
        upper: list[tuple[float, int]] = []
        lower: list[tuple[float, int]] = []
        for number, (x, y) in enumerate(places):
            if nodes[number].label and (1 if x > -1e-9 else -1) == side:
                (upper if y >= 0 else lower).append((y * outside / radius if radius else 0.0, number))
        free = -LINE / 2
        for y, number in sorted(upper):
            label = _label(nodes[number], number, side)
            middle = max(y, free + label.height / 2)
            free = middle + label.height / 2 + LINE / 4
            yield _beside(label, middle, outside)
        free = -LINE / 2
        for y, number in sorted(lower, reverse=True):
            label = _label(nodes[number], number, side)
            middle = min(y, free - label.height / 2)
            free = middle - label.height / 2 - LINE / 4
            yield _beside(label, middle, outside)


def _label(node: Node, number: int, side: int) -> _Label:
    text = "\n".join(
        line for op in node.label.split("\n") for line in textwrap.wrap(op, WRAP, break_long_words=False) or [""]
    )
    if node.folded:
        text = f"ranks {node.first} to {node.last}:\n{text}"
    return _Label(number, text, side, 0.0, 0.0)


def _beside(label: _Label, middle: float, outside: float) -> _Label:
    """The label at this height, as near to the circle as no corner of it touches a node."""
    nearest = max(0.0, abs(middle) - label.height / 2)
    x = math.sqrt(max(0.0, outside**2 - nearest**2))
    return _Label(label.node, label.text, label.side, label.side * max(x, 0.1), middle)


def _half_sizes(labels: Sequence[_Label], radius: float) -> tuple[float, float]:
    """Half the width and half the height of everything that is drawn."""
    width = max([abs(label.x) + label.width for label in labels], default=0.0)
    height = max([abs(label.y) + label.height / 2 for label in labels], default=0.0)
    return max(width, radius + NODE) + 0.1, max(height, radius + NODE) + 0.1


def _draw_nodes(figure: Figure, nodes: Sequence[Node], places: Sequence[tuple[float, float]]) -> None:
    axes = figure.axes[0]
    axes.scatter(
        [x for x, _ in places],
        [y for _, y in places],
        s=(2 * NODE * 72) ** 2,
        c=["#ffffff" if node.folded else _FILL[node.state] for node in nodes],
        edgecolors=[_FILL[node.state] for node in nodes],
        linestyles=["dashed" if node.folded else "solid" for node in nodes],
        linewidths=1.2,
        zorder=2,
    )
    for node, (x, y) in zip(nodes, places, strict=True):
        long = len(node.name) > 8
        text = node.name if node.folded or not long else node.name.replace(" ", "\n")
        size = 9 if _longest(text) <= 7 else 8
        axes.text(x, y, text, ha="center", va="center", fontsize=size, linespacing=1.0, zorder=3)


def _draw_arrows(figure: Figure, graph: Folded, places: Sequence[tuple[float, float]]) -> None:
    """One arrow a pair of nodes; its gid names the two, such as `waits-0-1`."""
    for (tail, head), in_circuit in graph.arrows.items():
        start, end = places[tail], places[head]
        shrink, bend = NODE * 72 + 1, 0.15
        if tail == head:  # waits for itself: a loop at the lower edge of the node
            start, end = (start[0] - NODE / 2, start[1] - NODE), (end[0] + NODE / 2, end[1] - NODE)
            shrink, bend = 0, 1.5
        figure.axes[0].add_patch(
            FancyArrowPatch(
                start,
                end,
                arrowstyle="-|>",
                mutation_scale=14,
                color=WAIT,
                linewidth=2.5 if in_circuit else 1.0,
                shrinkA=shrink,
                shrinkB=shrink,
                connectionstyle=f"arc3,rad={bend}",
                gid=f"waits-{tail}-{head}",
                zorder=1,
            )
        )


def _draw_label(figure: Figure, label: _Label, node: tuple[float, float]) -> None:
    axes = figure.axes[0]
    side = "left" if label.side > 0 else "right"
    axes.text(label.x, label.y, label.text, ha=side, va="center", ma="left", fontsize=9, family="monospace")
    away = math.dist((label.x, label.y), node)
    if away > 2 * NODE:
        part = NODE / away
        edge = (node[0] + part * (label.x - node[0]), node[1] + part * (label.y - node[1]))
        x = label.x - 0.04 * label.side
        axes.plot([edge[0], x], [edge[1], label.y], color="#bbbbbb", linewidth=0.7, zorder=0)


def _legend(graph: Folded) -> Iterator[Line2D]:
    """What colours and arrows mean, of those that are there."""
    for state, meaning in _MEANING.items():
        if any(node.state == state and not node.folded for node in graph.nodes):
            yield Line2D([], [], marker="o", linestyle="", color=_FILL[state], markersize=8, label=meaning)
    if any(node.folded for node in graph.nodes):
        meaning = "several ranks as one"
        yield Line2D([], [], marker="o", linestyle="", markersize=8, label=meaning, mfc="#ffffff", mec="#555555")
    for bold, meaning in ((True, "waits for, in the circuit"), (False, "waits for")):
        if bold in graph.arrows.values():
            yield Line2D([], [], color=WAIT, linewidth=2.5 if bold else 1.0, marker=">", markersize=5, label=meaning)
