"""The tables of outside judges, speed and reported hangs: counted from results, and a disagreement shows."""

import copy
from pathlib import Path
from typing import Any

import pytest

from experiments.cross_checks import engine_speed, simgrid, spin
from experiments.cross_checks.engine_speed import ROWS
from experiments.publish import cross_checks
from experiments.records.results import ResultStore
from model.validation.reported_hangs import known_hangs
from tests.experiments import samples


def _rows(**fields: Any) -> list[dict[str, Any]]:
    return [{**fields, "agree": True} for _ in range(3)]


BODIES: dict[str, dict[str, Any]] = {
    spin.NAME: {
        "spin": "Spin Version 6.5.2 -- 6 December 2019",
        "known": {"4": {"expected": 886, "spin": 886, "model": 886}},
        "rows": _rows(encoding="straight") + _rows(encoding="loop"),
    },
    simgrid.NAME: {
        "simgrid": "SimGrid version 3.32",
        "threshold": {"declared": 65535, "measured": 65535},
        "verdicts": _rows(),
        "reports": _rows(),
        "makespans": _rows(),
    },
    engine_speed.NAME: {
        "rows": [
            {
                "name": name,
                "about": row.about,
                "reach": row.reach,
                "reached": True,
                "samples": [{key: abs(limit) * factor for key, limit in row.limits.items()} for factor in (1, 0.5, 2)],
            }
            for name, row in ROWS.items()
        ]
    },
}


@pytest.fixture
def stored() -> dict[str, dict[str, Any]]:
    return copy.deepcopy(BODIES)


def store_of(stored: dict[str, dict[str, Any]], folder: Path) -> ResultStore:
    return samples.write(folder / "results", stored)


def agreement(stored: dict[str, dict[str, Any]], folder: Path) -> list[tuple[str | int, ...]]:
    return [(row[0], *row[2:]) for row in cross_checks.verdicts(store_of(stored, folder)).rows]


def test_every_other_tool_is_counted(stored: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    assert agreement(stored, tmp_path) == [
        ("SPIN 6.5.2", 3, 3),
        ("counts known before this model", 1, 1),
        ("SimGrid 3.32, SMPI", 1, 1),
        ("SimGrid 3.32, SMPI", 3, 3),
        ("SimGrid 3.32, SMPI", 3, 3),
        ("SimGrid 3.32, actors", 3, 3),
    ]


def test_every_disagreement_shows(stored: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    stored[spin.NAME]["rows"][0]["agree"] = False
    stored[spin.NAME]["known"]["4"]["model"] = 885
    stored[simgrid.NAME]["threshold"]["measured"] = 65536
    for part in ("verdicts", "reports", "makespans"):
        stored[simgrid.NAME][part][1]["agree"] = False
    assert [row[2] for row in agreement(stored, tmp_path)] == [2, 0, 0, 2, 2, 2]


def test_speed_is_that_of_the_worst_run(stored: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    stored[engine_speed.NAME]["rows"][1]["reached"] = False
    found = {row[0]: row[1:] for row in cross_checks.speed(store_of(stored, tmp_path)).rows}
    assert len(found) == len(ROWS)
    assert found[ROWS["event-graph"].about][1:] == ("20.00 s, 8.00 GiB", "yes")  # the longest and the largest
    assert found[ROWS["order-space"].about][2] == "NO"
    assert found[ROWS["simulator"].about][1] == "500,000 events/s, 5.0 times simpy"  # the slowest
    assert {name for row in ROWS.values() for name in row.limits} <= set(cross_checks.UNITS)


def test_every_reported_hang_has_a_line_that_can_be_read() -> None:
    found = cross_checks.hangs()
    assert [row[0] for row in found.rows] == [hang.name for hang in known_hangs()]
    for row in found.rows:
        assert row[2] in ("deadlock", "livelock")
        hanging, of = map(int, str(row[3]).split(" of "))
        assert 0 < hanging <= of
        assert row[5] and "nbytes" not in str(row[5])


def test_a_tool_without_results_is_named(stored: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    del stored[simgrid.NAME]
    with pytest.raises(ValueError, match="there are no results in"):
        cross_checks.verdicts(store_of(stored, tmp_path))
