"""Serving on a CPU beside transformers: interleaved, the same tokens, and the reduction; and the table of both."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.publish.readme import regenerate
from experiments.publish.serving import NOT_MEASURED, origin, serving_speed
from experiments.records.paths import ResultPaths
from experiments.records.results import ResultStore, write
from experiments.serving import cpu, gpu
from experiments.serving.cpu import OURS, SMOKE, THEIRS, Rates, comparison, interleaved, rates, run
from experiments.serving.settings import LABEL
from tests.experiments import samples

GIVEN = {"model": "tiny", "load": "random", "input_len": 9, "output_len": 5, "threads": 1, "repeats": 2, "seed": 3}


@pytest.fixture(scope="module")
def runs() -> list[dict[str, Any]]:
    threads = torch.get_num_threads()
    try:
        found: list[dict[str, Any]] = interleaved(**GIVEN, batch=3)["runs"]  # type: ignore[arg-type]
    finally:
        torch.set_num_threads(threads)
    return found


def stored(name: str, label: str, given: dict[str, Any], body: dict[str, Any], folder: Path) -> ResultStore:
    paths = ResultPaths(root=folder)
    provenance = samples.STAMP.to_json(arguments=given, seed=0, wall_s=1.0)
    write(paths.result(name, label), experiment=name, provenance=provenance, body=body)
    return ResultStore(paths)


@pytest.mark.xdist_group("teams")
def test_both_sides_take_turns_and_make_the_same_tokens(runs: list[dict[str, Any]], tmp_path: Path) -> None:
    assert [(run["number"], run["side"]) for run in runs] == [(0, THEIRS), (0, OURS), (1, OURS), (1, THEIRS)]
    for one in runs:
        assert [len(request["tokens"]) for request in one["requests"]] == [5, 5, 5]
        assert all(request["seconds"] == sorted(request["seconds"]) for request in one["requests"])
        assert all(len(request["seconds"]) == 5 for request in one["requests"])
    store = stored(cpu.NAME, "cpu", GIVEN, {"runs": runs}, tmp_path)
    (found,) = comparison(store.load(cpu.NAME)).values()
    assert (found.same, found.prompts) == (6, 6)
    assert found.prefill > 0 and found.decode > 0


def test_the_reduction_counts_from_the_last_first_token() -> None:
    requests = [{"tokens": [1, 2, 3], "seconds": [1.0, 3.0, 4.0]}, {"tokens": [4, 5, 6], "seconds": [2.0, 3.0, 6.0]}]
    assert rates(requests, 100) == Rates(prefill=100.0, decode=1.0)


def _sides(ours: float, theirs: float) -> list[dict[str, Any]]:
    """Runs in which a prefill of 9 tokens takes so many seconds, and a decode step as many."""
    return [
        {
            "batch": 1,
            "number": number,
            "side": side,
            "requests": [{"tokens": [1, 2], "seconds": [each * factor, 2 * each * factor]}],
        }
        for number, factor in enumerate((1, 5, 2))
        for side, each in ((OURS, ours), (THEIRS, theirs))
    ]


def test_medians_are_compared(tmp_path: Path) -> None:
    store = stored(cpu.NAME, "cpu", GIVEN, {"runs": _sides(1.0, 3.0)}, tmp_path)
    found = comparison(store.load(cpu.NAME))[1]
    assert found.ours == Rates(prefill=4.5, decode=0.5)
    assert (found.prefill, found.decode) == (pytest.approx(3), pytest.approx(3))
    rows = {row[0]: row[2:] for row in serving_speed(store).rows if row[2] != NOT_MEASURED}
    assert rows == {
        "CPU, PP=1, prefill of batch 1, beside transformers": ("3.00 times (4.5 and 1.5 tokens/s)", "yes"),
        "CPU, PP=1, decode of batch 1, beside transformers": ("3.00 times (0.5 and 0.2 tokens/s)", "yes"),
    }
    assert origin(store).startswith("On the CPU: 1 threads of Test & Co. 100%, tiny in float32")
    slower = stored(cpu.NAME, "cpu", GIVEN, {"runs": _sides(3.0, 1.0)}, tmp_path / "slower")
    assert [row[3] for row in serving_speed(slower).rows if row[2] != NOT_MEASURED] == ["NO", "NO"]


def _gpu(
    folder: Path, *, pp1: float = 1.0, pp4: float = 1.0, own: float = 1e-4, recorded: float = 1.0, allowed: bool = True
) -> ResultStore:
    def engine(name: str, latency: float, requests: int = 8) -> dict[str, Any]:
        found = [{"latency": latency * factor} for factor in (1.0, 0.5, 0.75)]
        return {"name": name, "requests": requests, "samples": found}

    body = {
        "rows": [
            engine("pp1", pp1),
            engine("peer", 2.0),
            engine("pp4", pp4),
            {
                **engine("pp1-recorded", pp1 * recorded),
                "beside": engine("pp1", pp1),
                "conformance": {"allowed": True, "steps": 1234},
            },
            {
                **engine("pp4-recorded", pp4),
                "beside": engine("pp4", pp4),
                "conformance": {"allowed": allowed, "steps": 4321},
            },
            {**engine("pp4-32", 4.0, 32), "prediction": {"ideal": 2.0, "shared": 4.0}, "explained": "Because."},
            {"name": "scheduler", "iterations_s": [own], "steps": [{"batch": 8, "decode_s": [0.01]}]},
        ]
    }
    given = {"model": "m", "dtype": "d", "batch": 8, "input_len": 1024, "output_len": 128, "pp": 4, "in_flight": 64}
    return stored(gpu.NAME, LABEL, given, body, folder)


def test_every_figure_of_the_accelerator_has_a_line(tmp_path: Path) -> None:
    rows = serving_speed(_gpu(tmp_path)).rows
    assert [row[2:] for row in rows[:7]] == [
        ("1,365 tokens/s (1,024 to 2,048)", "yes"),
        ("2.00 times (1,365 tokens/s (1,024 to 2,048), 683 tokens/s (512 to 1,024))", "yes"),
        ("1.00 times (1,365 tokens/s (1,024 to 2,048), 1,365 tokens/s (1,024 to 2,048))", "yes"),
        ("1,365 tokens/s (1,024 to 2,048); 1,024 predicted for one card, 2,048 for 4 cards", ""),
        (
            "1.00 times (1,365 tokens/s (1,024 to 2,048), 1,365 tokens/s (1,024 to 2,048)); "
            "the model allows the 1,234 steps",
            "yes",
        ),
        (
            "1.00 times (1,365 tokens/s (1,024 to 2,048), 1,365 tokens/s (1,024 to 2,048)); "
            "the model allows the 4,321 steps",
            "yes",
        ),
        ("100 us, 1.0% of the shortest step (10.00 ms at batch 8)", "yes"),
    ]


def test_what_is_not_reached_shows(tmp_path: Path) -> None:
    rows = serving_speed(_gpu(tmp_path, pp1=1.03, pp4=1.4, own=1e-3, recorded=1.04, allowed=False)).rows
    # the slowest run of PP=1 decides
    assert [row[3] for row in rows[:7]] == ["NO", "yes", "NO", "", "NO", "NO", "NO"]
    assert "the model does NOT allow the 4,321 steps" in rows[5][2]


def test_a_row_that_failed_or_is_missing_was_not_measured(empty: ResultStore, tmp_path: Path) -> None:
    assert {row[2] for row in serving_speed(empty).rows} == {NOT_MEASURED} and origin(empty) == ""
    body = {"rows": [{"name": "pp1", "failed": "the card is gone"}]}
    given = {"model": "m", "dtype": "d", "batch": 2, "input_len": 4, "output_len": 8, "pp": 2, "in_flight": 8}
    store = stored(gpu.NAME, LABEL, given, body, tmp_path)
    assert {row[2] for row in serving_speed(store).rows} == {NOT_MEASURED}
    assert "PP=2, 4 requests in 2 microbatches" in [row[0] for row in serving_speed(store).rows]


def test_the_readme_takes_the_table_and_its_origin(tmp_path: Path, store: ResultStore) -> None:
    store.paths.result(gpu.NAME, LABEL).parent.mkdir()
    there = store.paths.result(gpu.NAME, LABEL)
    there.write_text(_gpu(tmp_path / "gpu").paths.result(gpu.NAME, LABEL).read_text())
    text = regenerate("<!-- begin serving-speed -->\n<!-- end serving-speed -->\n", store)
    assert serving_speed(store).markdown() in text and text.count("Because.") == 1


@pytest.mark.parametrize("change", [{"output_len": 1}, {"threads": 0}, {"repeats": 0}, {"input_len": 0}])
def test_what_cannot_be_asked_for(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"give \d or more"):
        run(replace(SMOKE, **change))  # type: ignore[arg-type]
