"""Serving on several cards: its rows at sizes that a CPU takes, and what the README says of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.publish.readme import regenerate
from experiments.publish.serving import multi_gpu_origin, multi_gpu_rows, multi_gpu_table, same_tokens
from experiments.records.results import ResultStore
from experiments.serving import settings
from experiments.serving.multi_gpu import NAME, SMOKE, explained, grids, run
from experiments.serving.prediction import Prediction
from tests.experiments import samples
from tests.experiments.serving.test_gpu import here

Bodies = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "run_in_fresh_process", here)
        return {row["name"]: row for row in run(SMOKE)["rows"]}


@pytest.mark.xdist_group("teams")
def test_ranks_on_devices_of_their_own_give_the_tokens_of_one(rows: dict[str, dict[str, Any]]) -> None:
    assert list(rows) == ["pp1-tp1", "pp2-tp1", "pp1-tp2", "pp2-tp1-2-microbatches"]
    assert not any("failed" in row for row in rows.values())
    assert rows["pp1-tp1"]["tokens"] == rows["pp2-tp1"]["tokens"] != [[], []]
    assert same_tokens(rows, "pp2-tp1") is True
    assert all(len(row["samples"]) == SMOKE.repeats for row in rows.values())
    assert {row["tp"] for row in rows.values()} == {1, 2}


@pytest.mark.xdist_group("teams")
def test_the_filled_pipeline_stands_beside_its_prediction(rows: dict[str, dict[str, Any]]) -> None:
    row = rows["pp2-tp1-2-microbatches"]
    assert row["requests"] == 2 * SMOKE.batch and len(row["tokens"]) == 2 * SMOKE.batch
    assert len(row["stages"]) == 2 and [hop["name"] for hop in row["hops"]][2:] == ["output", "requests"]
    assert row["prediction"]["ideal"] > 0 and "All slots full" in row["explained"]


def test_every_grid_that_cards_allow_is_tried() -> None:
    assert [grid.name for grid in grids(2)] == ["pp1-tp1", "pp2-tp1", "pp1-tp2", "pp2-tp1-2-microbatches"]
    assert [(grid.pp, grid.tp, grid.full) for grid in grids(4)][-3:] == [(1, 2, 1), (2, 2, 1), (4, 1, 4)]


def test_the_table_says_whose_tokens_differ(store: ResultStore, bodies: Bodies, tmp_path: Path) -> None:
    lines = {(row[0], row[1], row[2]): row for row in multi_gpu_table(store).rows}
    assert lines[1, 1, 2][3:] == ("4 (2 to 8)", "1.00", "parity", "")
    assert lines[4, 1, 2][3:] == ("16 (8 to 32)", "4.00", "parity", "yes")
    assert lines[2, 2, 2][6] == "yes" and lines[4, 1, 8][6] == "yes" and lines[1, 2, 2][6] == ""
    bodies[NAME]["rows"][1]["tokens"][0][0] += 1
    altered = samples.write(tmp_path / "altered", bodies)
    assert [row[6] for row in multi_gpu_table(altered).rows][:3] == ["", "NO", "yes"]


def test_what_failed_is_said(store: ResultStore, bodies: Bodies, tmp_path: Path) -> None:
    assert multi_gpu_origin(store).startswith(
        "4 cards of one host, Test & Co. 100%, tiny with random weights in float32"
    )
    assert multi_gpu_origin(store).endswith("As foretold.")
    bodies[NAME]["rows"][0] = {"name": "pp1-tp1", "failed": "the card is gone"}
    altered = samples.write(tmp_path / "altered", bodies)
    assert multi_gpu_origin(altered).endswith("pp1-tp1 was not measured: the card is gone.")
    assert {row[4] for row in multi_gpu_table(altered).rows} == {""} and "pp1-tp1" not in multi_gpu_rows(altered)
    text = regenerate("<!-- begin serving-cards -->\n<!-- end serving-cards -->\n", store)
    assert multi_gpu_table(store).markdown() in text and "As foretold." in text


def test_how_far_a_run_is_from_its_prediction() -> None:
    found = Prediction(ideal=2.0, shared=9.0, compute=9.0)
    assert "took 3.00 s, 50% more than the 2.00 s" in explained(3.0, found)
    assert "took 1.50 s, 25% less than the 2.00 s" in explained(1.5, found)


def test_the_full_size_asks_for_a_device_for_each_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def run_in_fresh_process(work: str, arguments: Any, *, limit_s: float | None = None) -> dict[str, Any]:
        asked.append((work, arguments.get("pp"), arguments.get("tp"), arguments.get("transport")))
        raise ValueError("there are too few cards")

    monkeypatch.setattr(settings, "run_in_fresh_process", run_in_fresh_process)
    with pytest.raises(ValueError, match="every row failed; the first: there are too few cards"):
        run(replace(SMOKE, cards=4))
    assert asked[0] == ("experiments.serving.workloads:engine", 1, 1, "device") and len(asked) == len(grids(4))
    with pytest.raises(ValueError, match="cards is 1; give 2 or more"):
        run(replace(SMOKE, cards=1))
    with pytest.raises(ValueError, match="repeats is 0; give 1 or more"):
        run(replace(SMOKE, repeats=0))
