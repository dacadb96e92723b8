"""Results against predictions: the tables count every cell, and every disagreement has its line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.hang_matrix import gloo, mpich
from experiments.publish import report
from experiments.records.results import ResultStore
from experiments.serving import pipeline
from experiments.sweeps import order_space
from tests.experiments import samples

Bodies = dict[str, dict[str, Any]]


def test_the_comparison_counts_every_cell(store: ResultStore, bodies: Bodies) -> None:
    table = report.comparison(store)
    rows = {row[:2]: dict(zip(table.header, row, strict=True)) for row in table.rows}
    assert len(rows) == len(table.rows) == 4 + 3 + 4 + 1 + 1
    total = rows["all", ""]
    stored = [cell for name in report.MATRICES for cell in bodies[name]["cells"]] + bodies[pipeline.NAME]["hangs"]
    assert total["cells"] == len(stored)
    assert total["probes"] == sum(len(cell["samples"]) for cell in stored)
    assert total["predicted to hang"] == total["hung"] == sum(cell["predicted"] != "ok" for cell in stored)
    assert (total["unclear"], total["mismatches"]) == (0, 0)
    assert rows["gloo", "send"]["hung"] == 4 and rows["gloo", "isend"]["hung"] == 0
    assert rows["gloo, blocking isend", "isend"]["hung"] > 0
    assert rows["pipeline, blocking isend", "serving loop"]["cells"] == 8


def test_the_comparison_shows_what_there_is(tmp_path: Path, bodies: Bodies, empty: ResultStore) -> None:
    assert report.comparison(empty).rows == []
    alone = samples.write(tmp_path / "alone", {pipeline.NAME: bodies[pipeline.NAME]})
    assert [row[0] for row in report.comparison(alone).rows] == ["pipeline, blocking isend"]


def test_where_all_agrees_nothing_is_said(store: ResultStore, empty: ResultStore) -> None:
    assert report.disagreements(store) == []
    assert report.disagreements(empty) == []


def _hang_on_gloo(bodies: Bodies) -> None:
    bodies[gloo.NAME]["cells"][-1]["samples"] = [{"verdict": "hang"}]


def _finish_on_mpich(bodies: Bodies) -> None:
    cell = next(cell for cell in bodies[mpich.NAME]["cells"] if cell["predicted"] == "deadlock")
    cell["samples"] = [{"verdict": "ok"}]


def _limit(bodies: Bodies) -> None:
    bodies[mpich.NAME]["eager_limit"]["measured"] = 4016


def _pipeline(bodies: Bodies) -> None:
    bodies[pipeline.NAME]["hangs"][0]["samples"] = [{"verdict": "hang"}]


def _tokens(bodies: Bodies) -> None:
    bodies[pipeline.NAME]["speed"][0]["requests"][0]["tokens"] = [9, 9, 9]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (_hang_on_gloo, "gloo: parity, P=3, 1024 B, batch: predicted ok, measured hang"),
        (_finish_on_mpich, "MPICH: send-first, P=2, 8113 B, send: predicted deadlock, measured ok"),
        (_limit, "MPICH: eager limit declared as 8112 B, measured as 4016 B"),
        (_pipeline, "pipeline: PP=2, send-first, 1 requests: predicted ok, measured hang"),
        (_tokens, "pipeline: the tokens are not the same at every PP"),
    ],
)
def test_every_disagreement_has_its_line(
    change: Callable[[Bodies], None], line: str, bodies: Bodies, tmp_path: Path
) -> None:
    change(bodies)
    assert report.disagreements(samples.write(tmp_path / "altered", bodies)) == [line]


def test_the_limit_line_says_whether_it_agrees(store: ResultStore, bodies: Bodies, tmp_path: Path) -> None:
    assert report.limit_line(store) == "MPICH's eager limit: 8112 B in the model, 8112 B measured: agree"
    _limit(bodies)
    assert report.limit_line(samples.write(tmp_path / "altered", bodies)).endswith("4016 B measured: DISAGREE")


def test_speeds_are_means_over_the_runs_of_a_pp(bodies: Bodies, tmp_path: Path) -> None:
    slow, fast = samples.speed(2), samples.speed(2)
    for request in fast["requests"]:
        request["seconds"] = [0.1, 0.2, 0.3]
    bodies[pipeline.NAME]["speed"] = [samples.speed(1), slow, fast]
    one, two = report.speeds(samples.write(tmp_path / "runs", bodies)).rows
    # two requests of 3 tokens each: 6 tokens in 0.5 + 0.5/pp seconds, and in 0.3
    assert one == (1, 1, "6.0", "6.0 to 6.0", "0.50 s", "1.00 s")
    assert two == (2, 2, "14.0", "8.0 to 20.0", "0.30 s", "0.53 s")


def test_spaces_show_the_two_bounds_and_the_named(store: ResultStore) -> None:
    table = report.spaces(store)
    assert [row[:5] for row in table.rows] == [(2, 4, 2, 2, 2), (3, 8, 2, 3, 3), (4, 16, 2, 2, 4)]
    assert [row[table.header.index("parity")] for row in table.rows] == [2, 3, 2]


def test_a_missing_result_is_said(empty: ResultStore) -> None:
    for what in (report.spaces, report.speeds, report.limit_line):
        with pytest.raises(ValueError, match=r"there are no results in .*; run `python -m experiments reproduce`"):
            what(empty)
    assert not empty.has(order_space.NAME)
