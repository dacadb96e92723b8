"""Every notebook runs from its first cell to its last, and shows its figures as pictures and not as their names."""

import json
from pathlib import Path
from typing import Any

import jupytext
import pytest
from nbclient import NotebookClient

from experiments.records.paths import ROOT
from tests.patience import stretch

NOTEBOOKS = sorted((ROOT / "experiments" / "notebooks").glob("*.ipynb"))
FIGURES = {"01_a_ring_that_hangs.ipynb": 5}
"""How many cells of each show a figure."""

LIMIT_S = 300


def shows_picture(output: Any) -> bool:
    """Whether an output holds an image, or a page with one."""
    data = output.get("data", {})
    return "image/png" in data or "image/svg+xml" in data or "<svg" in data.get("text/html", "")


def test_the_notebooks_are_all_known() -> None:
    assert [notebook.name for notebook in NOTEBOOKS] == sorted(FIGURES)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_without_their_outputs(path: Path) -> None:
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


@pytest.mark.timeout(2 * LIMIT_S)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_its_figures_show(path: Path) -> None:
    notebook = jupytext.read(path)
    NotebookClient(
        notebook, timeout=round(stretch(LIMIT_S)), resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    pictures = [shown for shown in outputs if any(map(shows_picture, shown))]
    assert len(pictures) == FIGURES[path.name]
    for output in (output for shown in outputs for output in shown):
        text = output.get("data", {}).get("text/plain", "")
        assert shows_picture(output) or not ("<Figure" in text or "<Picture" in text or "Axes>" in text)
