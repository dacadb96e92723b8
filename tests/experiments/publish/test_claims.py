"""Each claim holds on good results, and is contradicted by each alteration of the evidence that it rests on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.hang_matrix import gloo, mpich
from experiments.publish.claims import CLAIMS, claim_status, contradicted, table
from experiments.records.paths import PAPER
from experiments.records.results import ResultStore
from experiments.serving import multi_gpu, pipeline
from experiments.sweeps import order_space, presence_patterns
from tests.experiments import samples

Bodies = dict[str, dict[str, Any]]
BY_ID = {claim.id: claim for claim in CLAIMS}
SHOWN = [claim for claim in CLAIMS if claim.holds is not None]


def outcomes(store: ResultStore) -> dict[str, str]:
    return {claim.id: claim_status(claim, store).outcome for claim in CLAIMS}


def test_on_good_results_every_claim_stands_as_stated(store: ResultStore) -> None:
    assert outcomes(store) == {claim.id: claim.outcome for claim in CLAIMS}
    assert contradicted(store) == []


def test_ids_are_unique_and_what_is_shown_has_a_predicate_and_a_command() -> None:
    assert len(BY_ID) == len(CLAIMS)
    for claim in CLAIMS:
        assert (claim.holds is None) == (not claim.shows) == (claim.outcome == "not yet measured")
        assert claim.command == ("; ".join(f"python -m experiments {name}" for name in claim.shows) or "none yet")


def test_every_claim_has_its_place_in_the_paper() -> None:
    text = (PAPER / "main.tex").read_text()
    for claim in CLAIMS:
        assert rf"\section{{{claim.section}}}" in text


Pick = Callable[[dict[str, Any]], bool]


def space(bodies: Bodies, ranks: int, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in bodies[order_space.NAME]["spaces"] if one["ranks"] == ranks)
    return found["named"][name]


def verdict(to: str, experiment: str, part: str, pick: Pick) -> Callable[[Bodies], None]:
    """Changes what was measured of the first cell or trial that `pick` picks."""

    def change(bodies: Bodies) -> None:
        next(one for one in bodies[experiment][part] if pick(one))["samples"] = [{"verdict": to}]

    return change


def named(ranks: int, name: str, **changes: Any) -> Callable[[Bodies], None]:
    return lambda bodies: space(bodies, ranks, name).update(changes)


def deadlocked(ordering: str, change: Callable[[list[str]], list[str]]) -> Callable[[Bodies], None]:
    def alter(bodies: Bodies) -> None:
        point = next(one for one in bodies[presence_patterns.NAME]["points"] if one["ordering"] == ordering)
        point["deadlocked"] = change(point["deadlocked"])

    return alter


def without(experiment: str, part: str, pick: Pick) -> Callable[[Bodies], None]:
    def change(bodies: Bodies) -> None:
        bodies[experiment][part] = [one for one in bodies[experiment][part] if not pick(one)]

    return change


def is_ordering(name: str) -> Pick:
    return lambda one: one["ordering"] == name


def blocked(one: dict[str, Any]) -> bool:
    return one["ordering"] == "send-first" and one["style"] != "batch"


def full(one: dict[str, Any]) -> bool:
    return one["ordering"] == "send-first" and one["requests"] == one["pp"]


def single(one: dict[str, Any]) -> bool:
    return one["ordering"] == "send-first" and one["requests"] == 1


def other_token(bodies: Bodies) -> None:
    bodies[pipeline.NAME]["speed"][1]["requests"][1] = {"tokens": [0, 1, 7], "seconds": [0.1, 0.2, 0.3]}


def tokens_of(name: str) -> Callable[[Bodies], None]:
    def change(bodies: Bodies) -> None:
        next(row for row in bodies[multi_gpu.NAME]["rows"] if row["name"] == name)["tokens"][1][0] += 1

    return change


PARITY = is_ordering("parity")
BLOCKING = gloo.BLOCKING_NAME


@pytest.mark.parametrize(
    ("change", "ids"),
    [
        (named(3, "send-first", makespan=3), {"C2"}),
        (verdict("ok", BLOCKING, "cells", blocked), {"C2"}),
        (verdict("unclear", BLOCKING, "cells", blocked), {"C2"}),
        (without(BLOCKING, "cells", lambda one: one["style"] != "batch"), {"C2"}),
        (verdict("ok", pipeline.NAME, "hangs", full), {"C2", "C8"}),
        (verdict("unclear", pipeline.NAME, "hangs", full), {"C2", "C8"}),
        (verdict("hang", pipeline.NAME, "hangs", single), {"C2", "C8"}),
        (without(pipeline.NAME, "hangs", is_ordering("send-first")), {"C2", "C8"}),
        (named(3, "parity", makespan=2), {"C3"}),
        (named(3, "parity", vector="SSR"), {"C3"}),
        (named(2, "parity", vector="SS"), {"C3"}),
        (named(4, "parity", makespan=0), {"C3", "C4"}),
        (deadlocked("parity", lambda found: ["11111"]), {"C4"}),
        (without(presence_patterns.NAME, "points", PARITY), {"C4"}),
        (verdict("hang", gloo.NAME, "cells", PARITY), {"C4"}),
        (verdict("hang", mpich.NAME, "cells", PARITY), {"C4"}),
        (verdict("unclear", mpich.NAME, "cells", PARITY), {"C4"}),
        (verdict("hang", BLOCKING, "cells", lambda one: PARITY(one) and one["style"] == "batch"), {"C4"}),
        (verdict("hang", BLOCKING, "cells", lambda one: PARITY(one) and one["style"] == "isend"), {"C2", "C4"}),
        (verdict("hang", pipeline.NAME, "hangs", PARITY), {"C4"}),
        (without(pipeline.NAME, "hangs", PARITY), {"C4"}),
        (other_token, {"C6"}),
        (tokens_of("pp3-tp1"), {"C6"}),
        (tokens_of("pp2-tp2"), {"C6"}),
        (without(multi_gpu.NAME, "rows", lambda row: row["name"] == "pp3-tp1"), {"C6"}),
        (without(pipeline.NAME, "speed", lambda run: run["pp"] > 1), {"C6"}),
        (deadlocked("send-first", lambda found: found[1:]), {"C8"}),
        (deadlocked("send-first", lambda found: ["01010", *found]), {"C8"}),
        (deadlocked("last-sends-first", lambda found: ["11111"]), set()),
    ],
)
def test_altered_evidence_contradicts_the_claims_that_rest_on_it(
    change: Callable[[Bodies], None], ids: set[str], bodies: Bodies, tmp_path: Path
) -> None:
    change(bodies)
    store = samples.write(tmp_path / "altered", bodies)
    assert {id for id, outcome in outcomes(store).items() if outcome == "CONTRADICTED"} == ids
    lines = contradicted(store)
    assert [line.split(" ")[1] for line in lines] == sorted(ids)
    assert all(f"is said to be {BY_ID[line.split(' ')[1]].outcome}, which the results" in line for line in lines)


@pytest.mark.parametrize(("claim", "name"), [(claim, name) for claim in SHOWN for name in claim.shows])
def test_where_a_result_is_missing_nothing_is_said(claim: Any, name: str, bodies: Bodies, tmp_path: Path) -> None:
    del bodies[name]
    store = samples.write(tmp_path / "partial", bodies)
    found = claim_status(claim, store)
    assert (found.outcome, found.compute_minutes) == ("no results", None)
    assert contradicted(store) == []


def test_minutes_are_those_of_the_results(store: ResultStore) -> None:
    assert claim_status(BY_ID["C3"], store).compute_minutes == 0.5
    assert claim_status(BY_ID["C4"], store).compute_minutes == 6 * 0.5
    assert claim_status(BY_ID["C1"], store).compute_minutes is None


def test_the_table_has_every_claim(store: ResultStore, contrary: ResultStore) -> None:
    rows = {row[0]: row for row in table(store).rows}
    assert list(rows) == [claim.id for claim in CLAIMS]
    assert "1 + 3.0" in rows["C4"] and "-" in rows["C1"]
    assert "CONTRADICTED" not in table(store).text()
    assert {row[0] for row in table(contrary).rows if row[2] == "CONTRADICTED"} == {"C4"}
