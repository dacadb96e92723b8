"""Pictures of the model: who waits for whom."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path

import networkx as nx
from matplotlib.figure import Figure

from model.verdict.result import Result

STUCK, FREE, WAIT = (
    "#d55e00",
    "#009e73",
    "#d55e00",
)  # colours of a palette that colour-blind readers can tell apart

WIDTH = 24  # letters of a line beside a rank

FORMATS = (".pdf", ".png", ".svg")


def wait_for_graph(result: Result, *, ranks: int, title: str = "") -> Figure:
    """The ranks on a circle, stuck ones in vermilion with the operation they are in, an arrow to whom each waits for.

    Arcs of the circuit are drawn bold. For a verdict of ok the ranks stand without arrows.
    """
    waits: nx.DiGraph[int] = nx.DiGraph()
    waits.add_nodes_from(range(ranks))
    waits.add_edges_from((item.rank, peer) for item in result.blocked for peer in item.waits_for)
    members = [item.rank for item in result.circuit]
    bold = set(zip(members, members[1:] + members[:1], strict=True))
    stuck = {item.rank: item.op for item in result.blocked}

    figure = Figure(figsize=(5.5, 4.5), layout="constrained")
    axes = figure.add_subplot()
    places = {rank: _place(rank, ranks) for rank in range(ranks)}
    nx.draw_networkx_nodes(
        waits,
        places,
        ax=axes,
        node_size=1500,
        node_color=[STUCK if rank in stuck else FREE for rank in waits],
    )
    nx.draw_networkx_labels(waits, places, {rank: f"rank {rank}" for rank in waits}, ax=axes, font_size=9)
    nx.draw_networkx_edges(
        waits,
        places,
        ax=axes,
        node_size=1500,
        arrowsize=18,
        edge_color=WAIT,
        width=[2.5 if arc in bold else 1.0 for arc in waits.edges],
        connectionstyle="arc3,rad=0.15",
    )
    for rank, op in stuck.items():
        x, y = places[rank]
        side = "center" if abs(x) < 0.1 else "left" if x > 0 else "right"
        height = "center" if abs(y) < 0.6 else "bottom" if y > 0 else "top"  # away from the rank, however many lines
        axes.annotate(_short(op), (1.32 * x, 1.25 * y), ha=side, va=height, fontsize=9, family="monospace")
    axes.set(xlim=(-2.2, 2.2), ylim=(-1.9, 1.9), title=title or result.verdict)
    axes.set_axis_off()
    axes.set_aspect("equal")
    return figure


def _short(op: str) -> str:
    """An operation in at most three lines: a batch or a wait for many requests would take the room of the ranks."""
    return "\n".join(textwrap.wrap(op, WIDTH, max_lines=3, placeholder=" ..."))


def _place(rank: int, ranks: int) -> tuple[float, float]:
    """Rank 0 on top, the others clockwise, as a clock face."""
    turn = 2 * math.pi * rank / ranks
    return math.sin(turn), math.cos(turn)


def save(figure: Figure, path: Path) -> None:
    """Writes a figure; the ending of the path names the format. Raises ValueError as `check_path` does."""
    check_path(path)
    figure.savefig(path)


def check_path(path: Path) -> None:
    """Raises ValueError where no figure can be written to this path: to be asked before a long computation."""
    if path.suffix not in FORMATS:
        raise ValueError(f"cannot draw to {str(path)!r}; end the name with one of {', '.join(FORMATS)}")
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"cannot draw to {str(path)!r}: it must be a file in a folder that is there")
