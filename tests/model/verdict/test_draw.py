"""Drawings: the arrows are the waits, the bold ones the circuit; files of each format; paths that will not do."""

import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from model import Result, check
from model.program.checked import Program, program
from model.program.ops import Irecv, Operation, Recv, Send, Wait
from model.rings.orderings import NAMED
from model.rings.ring import ring
from model.semantics.libraries import semantics
from model.verdict.draw import FORMATS, FREE, STUCK, check_path, save, wait_for_graph


def stuck_ring(ranks: int) -> Program:
    return ring(ranks=ranks, rounds=1, ordering=NAMED["send-first"])


def tangle() -> Program:
    """Ranks 2 and 3 wait for each other, 0 and 1 behind them, 4 for one that has finished, 5 for nobody."""
    two: list[Operation] = [Irecv(peer=0, request="a"), Irecv(peer=3, request="b"), Wait(requests=("a", "b"))]
    return program([[Recv(peer=1)], [Recv(peer=2)], two, [Recv(peer=2)], [Recv(peer=5)], []])


def rank_at(point: tuple[float, float], ranks: int) -> int:
    """The rank whose place on the clock face is nearest; 0 stands on top."""
    assert math.hypot(*point) == pytest.approx(1)
    return round(math.atan2(*point) / (2 * math.pi) * ranks) % ranks


def arrows(figure: Figure, ranks: int) -> dict[tuple[int, int], float]:
    """(from, to) of each arrow in the figure, with its line width."""
    (axes,) = figure.axes
    found = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    ends = [tuple(rank_at(point, ranks) for point in patch._posA_posB) for patch in found]  # type: ignore[attr-defined]
    assert len(set(ends)) == len(ends)
    return dict(zip(ends, (patch.get_linewidth() for patch in found), strict=True))  # type: ignore[arg-type]


def colours(figure: Figure) -> list[str]:
    (nodes,) = [item for item in figure.axes[0].collections if isinstance(item, PathCollection)]
    return [to_hex(tuple(colour)) for colour in np.asarray(nodes.get_facecolor())]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize(
    ("made", "promise"),
    [*[(stuck_ring(ranks), "rendezvous") for ranks in (2, 3, 5, 12)], (tangle(), "eager"), (tangle(), "rendezvous")],
)
def test_the_arrows_are_the_waits_and_the_bold_ones_the_circuit(made: Program, promise: str) -> None:
    result = check(made, semantics(promise))
    figure = wait_for_graph(result, ranks=len(made))
    drawn = arrows(figure, len(made))
    assert set(drawn) == {(item.rank, peer) for item in result.blocked for peer in item.waits_for}
    members = [item.rank for item in result.circuit]
    circuit = {(rank, members[(place + 1) % len(members)]) for place, rank in enumerate(members)}
    bold = {arc for arc, width in drawn.items() if width == max(drawn.values())}
    assert bold == circuit & set(drawn)
    assert bold
    stuck = {item.rank for item in result.blocked}
    assert colours(figure) == [STUCK if rank in stuck else FREE for rank in range(len(made))]
    assert set(texts(figure)) == {f"rank {rank}" for rank in range(len(made))} | {item.op for item in result.blocked}


def test_a_verdict_of_ok_has_no_arrows() -> None:
    result = check(stuck_ring(3), semantics("eager"))
    figure = wait_for_graph(result, ranks=3)
    assert arrows(figure, 3) == {}
    assert colours(figure) == [FREE] * 3
    assert texts(figure) == ["rank 0", "rank 1", "rank 2"]
    assert figure.axes[0].get_title() == "ok"
    assert wait_for_graph(result, ranks=3, title="cured").axes[0].get_title() == "cured"


@pytest.mark.parametrize(
    ("made", "arcs"),
    [
        (program([[Send(peer=0)]]), {(0, 0)}),  # waits for itself
        (program([[Recv(peer=-1)]]), set()),  # waits for anyone, and is alone
        (program([[Recv(peer=1)], []]), {(0, 1)}),  # waits for one that has finished
    ],
)
def test_small_ones_can_be_drawn(made: Program, arcs: set[tuple[int, int]], tmp_path: Path) -> None:
    result: Result = check(made, semantics("rendezvous"))
    figure = wait_for_graph(result, ranks=len(made))
    assert set(arrows(figure, len(made))) == arcs
    save(figure, tmp_path / "small.svg")


@pytest.mark.parametrize(("ending", "starts"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_files_of_each_format(ending: str, starts: bytes, tmp_path: Path) -> None:
    file = tmp_path / f"ring{ending}"
    file.write_bytes(b"older")
    save(wait_for_graph(check(stuck_ring(4), semantics("rendezvous")), ranks=4), file)
    content = file.read_bytes()
    assert content.startswith(starts)
    assert len(content) > 2000


def test_the_formats_tested_are_all() -> None:
    assert FORMATS == (".pdf", ".png", ".svg")


@pytest.mark.parametrize(
    "name", ["ring", "ring.", "ring.txt", "ring.PNG", "ring.pgf", ".png", "png", "absent/ring.png"]
)
def test_a_path_that_cannot_be_drawn_to_is_an_error_that_names_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    figure = wait_for_graph(check(stuck_ring(2), semantics("eager")), ranks=2)
    for attempt in (lambda: check_path(path), lambda: save(figure, path)):
        with pytest.raises(ValueError) as error:
            attempt()
        assert repr(str(path)) in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_drawn_over(tmp_path: Path) -> None:
    folder = tmp_path / "ring.png"
    folder.mkdir()
    with pytest.raises(ValueError, match=r"ring\.png"):
        check_path(folder)
