"""Figures are drawn from results; a disagreement shows as a mark, and no results is one clear error."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from experiments.hang_matrix import gloo, mpich
from experiments.publish import figures
from experiments.records.results import ResultStore
from experiments.serving import pipeline
from experiments.sweeps import order_space
from tests.experiments import samples

Bodies = dict[str, dict[str, Any]]
PNG, PDF = b"\x89PNG", b"%PDF"


def counters(figure: Figure, marker: str) -> int:
    return sum(line.get_marker() == marker for axis in figure.axes for line in axis.lines)


def cells(figure: Figure) -> list[str]:
    """The verdicts that the cells of all panels have the colours of."""
    verdicts = {colour.lower(): verdict for verdict, colour in figures.COLOURS.items()}
    found = [patch for axis in figure.axes for patch in axis.patches if isinstance(patch, Rectangle)]
    return [verdicts[_hex(patch)] for patch in found]


def _hex(patch: Rectangle) -> str:
    from matplotlib.colors import to_hex

    return to_hex(patch.get_facecolor())


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for one in figure.legends for text in one.get_texts()]


def titles(figure: Figure) -> list[str]:
    return [title for axis in figure.axes if (title := axis.get_title(loc="left"))]


def test_the_hang_matrix_shows_every_cell_and_where_hangs_are_predicted(store: ResultStore) -> None:
    figure = figures.hang_matrix(store)
    assert titles(figure) == [
        "gloo, 1 B to 1 KiB",
        "gloo, blocking isend, 1 B to 1 MiB",
        "MPICH, 1 B to 8112 B",
        "MPICH, 8113 B to 1 MiB",
    ]
    seen = cells(figure)
    assert len(seen) == 16 + 12 + 16 + 16
    assert seen.count("hang") == counters(figure, "o") > 0
    assert counters(figure, "X") == 0
    assert legend(figure) == ["finished", "hung", "hang predicted"]


@pytest.mark.parametrize(
    ("predicted", "verdict", "shown"), [("ok", "hang", "hang"), ("deadlock", "ok", "ok"), ("ok", "unclear", "unclear")]
)
def test_a_disagreement_shows_as_a_mark(
    predicted: str, verdict: str, shown: str, bodies: Bodies, tmp_path: Path
) -> None:
    before = cells(figures.hang_matrix(samples.write(tmp_path / "good", bodies))).count(shown)
    cell = next(cell for cell in bodies[mpich.NAME]["cells"] if cell["predicted"] == predicted)
    cell["samples"] = [{"verdict": verdict}]
    figure = figures.hang_matrix(samples.write(tmp_path / "bad", bodies))
    assert counters(figure, "X") == 1
    assert cells(figure).count(shown) > before
    assert legend(figure)[-1] == "prediction and measurement disagree"


def test_sizes_that_behave_otherwise_have_panels_of_their_own(bodies: Bodies, tmp_path: Path) -> None:
    odd = next(cell for cell in bodies[gloo.NAME]["cells"] if cell["nbytes"] == 1024)
    odd["samples"] = [{"verdict": "unclear"}]
    alone = samples.write(tmp_path / "gloo", {gloo.NAME: bodies[gloo.NAME]})
    assert titles(figures.hang_matrix(alone, columns=1)) == ["gloo, 1 B", "gloo, 1 KiB"]


@pytest.mark.parametrize("draw", [figures.hang_matrix, figures.makespans, figures.serving_speed])
def test_without_results_there_is_one_clear_error(draw: Callable[[ResultStore], Figure], empty: ResultStore) -> None:
    with pytest.raises(ValueError, match=r"there .* no .* in .*; run `python -m experiments reproduce`") as refused:
        draw(empty)
    assert str(empty.paths.root) in str(refused.value) and "\n" not in str(refused.value)


def test_makespans_shows_the_named_orderings(store: ResultStore) -> None:
    axis = figures.makespans(store).axes[0]
    named = {line.get_label(): [int(y) for y in line.get_ydata()] for line in axis.lines}  # type: ignore[union-attr]
    assert named == {"parity": [2, 3, 2], "last-sends-first": [2, 3, 4]}
    points = {(int(x), int(y)) for x, y in axis.collections[0].get_offsets()}  # type: ignore[misc]
    assert points == {(2, 2), (3, 3), (4, 2), (4, 3), (4, 4)}


def test_serving_shows_every_run(bodies: Bodies, tmp_path: Path) -> None:
    bodies[pipeline.NAME]["speed"].append(samples.speed(2))
    rates, times = figures.serving_speed(samples.write(tmp_path / "runs", bodies)).axes
    assert [round(bar.get_height(), 2) for bar in rates.patches] == [6.0, 8.0]  # type: ignore[attr-defined]
    assert [len(line.get_ydata()) for line in rates.lines] == [1, 2]  # type: ignore[arg-type]
    assert len(times.patches) == 4


def test_all_are_drawn_and_the_same_results_give_the_same_files(store: ResultStore) -> None:
    paths = figures.draw_all(store)
    assert [path.name for path in paths] == ["hang_matrix.png", "makespans.png", "serving.png"]
    assert all(path.parent == store.paths.root / "figures" for path in paths)
    first = [path.read_bytes() for path in paths]
    assert all(data.startswith(PNG) for data in first)
    assert [path.read_bytes() for path in figures.draw_all(store)] == first


def test_a_pdf_is_dated_by_nothing(store: ResultStore, tmp_path: Path) -> None:
    one, two = (figures.save(figures.makespans(store), tmp_path / f"{name}.pdf").read_bytes() for name in "ab")
    assert one.startswith(PDF) and one == two


def test_only_what_has_results_is_drawn(bodies: Bodies, tmp_path: Path, empty: ResultStore) -> None:
    assert figures.draw_all(empty) == []
    alone = samples.write(tmp_path / "alone", {order_space.NAME: bodies[order_space.NAME]})
    assert [path.name for path in figures.draw_all(alone)] == ["makespans.png"]


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0 B"), (1, "1 B"), (1023, "1023 B"), (1024, "1 KiB"), (8113, "8113 B"), (2**20, "1 MiB"), (2**24, "16 MiB")],
)
def test_sizes_are_written_as_people_write_them(nbytes: int, text: str) -> None:
    assert figures.size(nbytes) == text
