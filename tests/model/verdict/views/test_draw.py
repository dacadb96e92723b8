"""Drawings: the arrows are the waits, the bold ones the circuit; files of each format; paths that will not do."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from model import Result, check
from model.entry.output import FORMATS, check_picture
from model.program.checked import Program, program
from model.program.ops import Irecv, Operation, Recv, Send, Wait
from model.rings.orderings import NAMED
from model.rings.ring_program import ring, ring_table
from model.semantics.libraries import semantics
from model.verdict.views.draw import FREE, STUCK, wait_for_graph
from model.verdict.views.folding import MAX_NODES, fold


def stuck_ring(ranks: int) -> Program:
    return ring(ranks=ranks, rounds=1, ordering=NAMED["send-first"])


def tangle() -> Program:
    """Ranks 2 and 3 wait for each other, 0 and 1 behind them, 4 for one that has finished, 5 for nobody."""
    two: list[Operation] = [Irecv(peer=0, request="a"), Irecv(peer=3, request="b"), Wait(requests=("a", "b"))]
    return program([[Recv(peer=1)], [Recv(peer=2)], two, [Recv(peer=2)], [Recv(peer=5)], []])


def arrows(figure: Figure) -> dict[tuple[int, int], float]:
    """(from, to) of each arrow in the figure, by node, with its line width."""
    found = [patch for patch in figure.axes[0].patches if isinstance(patch, FancyArrowPatch)]
    ends = [tuple(map(int, str(patch.get_gid()).removeprefix("waits-").split("-"))) for patch in found]
    assert len(set(ends)) == len(ends)
    return dict(zip(ends, (patch.get_linewidth() for patch in found), strict=True))  # type: ignore[arg-type]


def colours(figure: Figure) -> list[str]:
    (nodes,) = [item for item in figure.axes[0].collections if isinstance(item, PathCollection)]
    return [to_hex(tuple(colour)) for colour in np.asarray(nodes.get_facecolor())]


def texts(figure: Figure) -> list[str]:
    """Of nodes and beside them, each in one line."""
    return [" ".join(text.get_text().split()) for text in figure.axes[0].texts]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize(
    ("made", "promise"),
    [*[(stuck_ring(ranks), "rendezvous") for ranks in (2, 3, 5, 12)], (tangle(), "eager"), (tangle(), "rendezvous")],
)
def test_the_arrows_are_the_waits_and_the_bold_ones_the_circuit(made: Program, promise: str) -> None:
    result = check(made, semantics(promise))
    figure = wait_for_graph(result, ranks=len(made))
    drawn = arrows(figure)
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
    assert arrows(figure) == {}
    assert colours(figure) == [FREE] * 3
    assert texts(figure) == ["rank 0", "rank 1", "rank 2"]
    assert figure.axes[0].get_title() == "ok: 3 ranks under eager"
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
    assert set(arrows(figure)) == arcs
    figure.savefig(tmp_path / "small.svg")


@pytest.mark.parametrize("ranks", [4, 16, 64, 1000])
def test_what_is_drawn_lies_inside_the_picture_and_no_text_on_another(ranks: int) -> None:
    result = check(stuck_ring(ranks), "rendezvous")
    figure = wait_for_graph(result, ranks=ranks, title=f"deadlock: a ring of {ranks} ranks, under rendezvous")
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    boxes += [figure.axes[0].title.get_window_extent(), figure.legends[0].get_window_extent()]
    for box in boxes:
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    assert max(figure.get_size_inches()) < 9


def test_labels_are_not_cut_and_take_the_height_that_they_need() -> None:
    requests = [f"r{number}" for number in range(60)]
    ops: list[Operation] = [*(Irecv(peer=1, request=name, tag=tag) for tag, name in enumerate(requests))]
    made = program([[*ops, Wait(requests=tuple(requests))], [Recv(peer=0)]])
    figure = wait_for_graph(check(made, "rendezvous"), ranks=2)
    (label,) = [text for text in figure.axes[0].texts if "r59" in text.get_text()]
    assert " ".join(label.get_text().split()) == f"wait({', '.join(requests)})"
    figure.draw_without_rendering()
    box = label.get_window_extent()
    assert 0 < box.y0 < box.y1 < figure.bbox.height


def test_a_large_ring_is_folded_and_its_circuit_still_closes() -> None:
    result = check(stuck_ring(1000), "rendezvous")
    figure = wait_for_graph(result, ranks=1000)
    assert texts(figure)[:5] == ["rank 0", "rank 1", "996 ranks", "rank 998", "rank 999"]
    assert "ranks 2 to 997: each in send(rank+1)" in texts(figure)
    assert set(arrows(figure)) == {(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)}
    assert legend(figure) == ["stuck in the operation beside it", "several ranks as one", "waits for, in the circuit"]


def test_what_repeats_with_a_period_is_folded_in_turn() -> None:
    lines = [f"{'recv' if rank % 2 else 'send'}({(rank + 2) % 200}); recv({(rank - 2) % 200})" for rank in range(200)]
    graph = fold(check(lines, "rendezvous"), 200)
    assert [node.label for node in graph.nodes if node.folded] == ["each in send(rank+2) or recv(rank+2)"]
    assert len(graph.nodes) == 5


def test_ranks_that_finish_stand_in_one_node_and_many_different_ones_are_put_together() -> None:
    lonely = fold(check([["recv(1)"], *([] for _ in range(99))], "rendezvous"), 100)
    assert [(node.state, node.last - node.first + 1) for node in lonely.nodes] == [("stuck", 1), ("finished", 99)]
    assert lonely.arrows == {(0, 1): False}
    different = [[f"recv({(rank + 1) % 100}, tag={rank * rank % 101})"] for rank in range(100)]
    graph = fold(check(different, "rendezvous"), 100)
    assert len(graph.nodes) <= MAX_NODES + 1
    assert sum(node.last - node.first + 1 for node in graph.nodes) == 100
    assert all(graph.arrows.values())


def test_a_result_of_a_table_says_that_not_every_rank_is_listed() -> None:
    result = check(ring_table(ranks=5000, rounds=1, ordering=NAMED["send-first"]), "rendezvous")
    graph = fold(result, 5000)
    assert [node.state for node in graph.nodes][-1] == "unlisted"


def test_a_picture_shows_itself_in_a_notebook() -> None:
    figure = wait_for_graph(check(stuck_ring(3), "rendezvous"), ranks=3)
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert figure.svg().startswith("<svg")
    assert ">rank 2<" in figure.svg()


@pytest.mark.parametrize(("ending", "starts"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_files_of_each_format(ending: str, starts: bytes, tmp_path: Path) -> None:
    file = tmp_path / f"ring{ending}"
    file.write_bytes(b"older")
    check_picture(file)
    wait_for_graph(check(stuck_ring(4), semantics("rendezvous")), ranks=4).savefig(file)
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
    with pytest.raises(ValueError) as error:
        check_picture(path)
    assert repr(str(path)) in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_drawn_over(tmp_path: Path) -> None:
    folder = tmp_path / "ring.png"
    folder.mkdir()
    with pytest.raises(ValueError, match=r"ring\.png"):
        check_picture(folder)
