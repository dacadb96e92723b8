"""The rows of serving on an accelerator, at sizes that a CPU takes: real engines, stages, hops and peers."""

import importlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from statistics import median
from typing import Any

import pytest
import torch

from experiments.records.fresh_process import run_in_fresh_process
from experiments.serving import settings, workloads
from experiments.serving.gpu import ROWS, SMOKE, TURNS, run, said, scheduler_share
from experiments.serving.prediction import Hop
from experiments.serving.settings import latencies, times_of, whole_rates

pytestmark = pytest.mark.xdist_group("teams")


@pytest.fixture(scope="module", autouse=True)
def _threads() -> Iterator[None]:
    """A stage alone takes the threads of its rank, which are this process's."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def here(work: str, arguments: Mapping[str, Any], *, limit_s: float | None = None) -> dict[str, Any]:
    """As `alone`, in this process: what it is given and what it gives still pass through JSON."""
    module, function = work.split(":")
    found = getattr(importlib.import_module(module), function)(**json.loads(json.dumps(arguments)))
    read: dict[str, Any] = json.loads(json.dumps(found))
    return read


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "run_in_fresh_process", here)
        return {row["name"]: row for row in run(SMOKE)["rows"]}


def test_every_row_is_measured(rows: dict[str, dict[str, Any]]) -> None:
    assert list(rows) == list(SMOKE.rows) == list(ROWS)
    assert [said(row) for row in rows.values() if "failed" in row] == []


@pytest.mark.parametrize(
    ("name", "requests"), [("pp1", 2), ("pp1-recorded", 2), ("pp4", 2), ("pp4-recorded", 2), ("pp4-32", 4)]
)
def test_an_engines_run_keeps_every_arrival(rows: dict[str, dict[str, Any]], name: str, requests: int) -> None:
    row = rows[name]
    assert (row["requests"], row["device"], row["verdict"]) == (requests, "cpu", "ok")
    assert len(row["samples"]) == SMOKE.repeats * (TURNS if "beside" in row else 1)
    for sample, rate in zip(row["samples"], whole_rates(row, SMOKE.output_len), strict=True):
        assert [len(prompt) for prompt in sample["arrivals"]] == [SMOKE.output_len] * requests
        assert all(prompt == sorted(prompt) for prompt in sample["arrivals"])
        assert max(prompt[-1] for prompt in sample["arrivals"]) == pytest.approx(sample["latency"], abs=1e-4)
        assert rate == requests * SMOKE.output_len / sample["latency"]
        figures = ("input_throughput", "output_throughput", "last_ttft", "last_gen_throughput")
        assert set(figures) < sample.keys()


@pytest.mark.parametrize(("name", "ranks"), [("pp1", 1), ("pp4", 2)])
def test_the_model_judges_the_recorded_runs(rows: dict[str, dict[str, Any]], name: str, ranks: int) -> None:
    row = rows[f"{name}-recorded"]
    said = row["conformance"]
    assert said["allowed"] and said["complete"] and said["ranks"] == ranks
    assert said["steps"] > ranks * said["iterations"] > ranks * SMOKE.output_len * SMOKE.repeats
    assert row["tokens"] == row["beside"]["tokens"] == rows[name]["tokens"]
    assert len(row["beside"]["samples"]) == len(row["samples"]) and "conformance" not in row["beside"]


@pytest.mark.parametrize("wrong", range(TURNS))
def test_one_start_that_the_model_does_not_allow_is_told(monkeypatch: pytest.MonkeyPatch, wrong: int) -> None:
    verdicts = iter(range(TURNS))

    def some(work: str, arguments: Mapping[str, Any], *, limit_s: float | None = None) -> dict[str, Any]:
        ran: dict[str, Any] = {"samples": [{"latency": 2.0}]}
        return ran if work.endswith(":engine") else {**ran, "conformance": {"allowed": next(verdicts) != wrong}}

    monkeypatch.setattr(settings, "run_in_fresh_process", some)
    (row,) = run(replace(SMOKE, rows=("pp1-recorded",)))["rows"]
    assert row["conformance"] == {"allowed": False} and len(row["samples"]) == TURNS


def test_the_peer_is_timed(rows: dict[str, dict[str, Any]]) -> None:
    row = rows["peer"]
    assert len(latencies(row)) == SMOKE.peer_repeats and min(latencies(row)) > 0
    assert row["transformers"] and row["requests"] == SMOKE.batch


def test_stages_and_hops_are_measured_apart_and_make_the_prediction(rows: dict[str, dict[str, Any]]) -> None:
    row = rows["pp4-32"]
    assert [(stage["stage"], stage["layers"]) for stage in row["stages"]] == [(0, 3), (1, 3)]
    assert [(hop["name"], hop["nbytes"]) for hop in row["hops"]] == [
        ("2x12x64", 2 * 12 * 64 * 4),
        ("2x1x64", 2 * 64 * 4),
        ("output", 16),
        ("requests", 8),
    ]
    for stage in row["stages"]:
        assert (len(stage["prefill_s"]), len(stage["decode_s"])) == (2, 20)
    assert all(len(hop["seconds"]) == 20 and min(hop["seconds"]) > 0 for hop in row["hops"])
    times = times_of(row["stages"], row["hops"])
    assert times.decode == tuple(median(stage["decode_s"]) for stage in row["stages"])
    assert times.requests_hop == Hop(nbytes=8, seconds=median(row["hops"][3]["seconds"]))
    assert 0 < row["prediction"]["ideal"] <= row["prediction"]["shared"]
    assert row["prediction"]["compute"] <= row["prediction"]["shared"] * 1.000001
    assert said(row).endswith(row["explained"])


def test_the_scheduler_is_a_fraction_of_the_shortest_step(rows: dict[str, dict[str, Any]]) -> None:
    row = rows["scheduler"]
    assert [step["batch"] for step in row["steps"]] == [SMOKE.batch, SMOKE.in_flight]
    assert len(row["iterations_s"]) == SMOKE.output_len - 2 - workloads.DECODE_WARM_UP
    made = {"iterations_s": [1.0, 3.0, 2.0], "steps": [{"decode_s": [40.0, 30.0, 50.0]}, {"decode_s": [100.0]}]}
    assert scheduler_share(made) == 2 / 40
    assert scheduler_share(row) > 0 and "of a decode step" in said(row)


def test_a_row_that_fails_says_so_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def some(work: str, arguments: Mapping[str, Any], *, limit_s: float | None = None) -> dict[str, Any]:
        if work.endswith(":engine"):
            raise ValueError("the card is gone")
        return {"samples": [{"latency": 2.0}]}

    monkeypatch.setattr(settings, "run_in_fresh_process", some)
    found = run(replace(SMOKE, rows=("pp1", "peer")))["rows"]
    assert found[0] == {"name": "pp1", "failed": "the card is gone"} and said(found[0]) == "FAILED: the card is gone"
    assert whole_rates(found[1], 8) == [8.0] and said(found[1]) == "latency 2.000 s"
    with pytest.raises(ValueError, match="every row failed; the first: the card is gone"):
        run(replace(SMOKE, rows=("pp1",)))


def test_without_time_nothing_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "run_in_fresh_process", lambda *_, **__: pytest.fail("begun"))
    with pytest.raises(ValueError, match="no time was left within limit_s"):
        run(replace(SMOKE, limit_s=1.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": ("pp9",)}, "unknown rows pp9"),
        ({"rows": ()}, "unknown rows"),
        ({"batch": 0}, "batch is 0"),
        ({"output_len": 7}, "give 8 or more"),
        ({"pp": 1}, "pp is 1; give 2 or more"),
    ],
)
def test_what_cannot_be_asked_for(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(replace(SMOKE, **change))


def test_a_process_of_its_own_gives_what_its_work_found() -> None:
    found = run_in_fresh_process("experiments.cross_checks.engine_speed_workloads:order_space", {"ranks": 2})
    assert (found["orderings"], found["deadlocks"]) == (4, 2)
    assert found["seconds"] > 0 and found["peak_gib"] > 0


def test_a_process_that_fails_or_takes_too_long_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match=r"order_space failed: .*unexpected keyword argument 'sizes'"):
        run_in_fresh_process("experiments.cross_checks.engine_speed_workloads:order_space", {"sizes": 2})
    assert "Traceback" in capsys.readouterr().err
    with pytest.raises(ValueError, match="took longer than 0 s and was ended"):
        run_in_fresh_process("experiments.cross_checks.engine_speed_workloads:order_space", {"ranks": 2}, limit_s=0.01)
