"""The cells of a hang matrix: all of them, mixed, with the model's prediction and every raw sample."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from experiments.hang_matrix import gloo, matrix, mpich
from experiments.hang_matrix.matrix import Cell, Config
from experiments.lab.hang_detector import Sample
from experiments.lab.progress import SETTING_UP
from model.rings import orderings
from model.rings.ring_program import STYLES
from model.semantics.libraries import semantics
from tests.experiments import samples

SMALL = Config(orderings=("send-first", "parity"), ranks=(2, 3), sizes=(1,), styles=("send", "isend"), repeats=3)


def cell(**changes: Any) -> Cell:
    return Cell(**({"ordering": "send-first", "ranks": 3, "nbytes": 1, "style": "send", "rounds": 2} | changes))


@pytest.mark.parametrize(
    ("config", "count"),
    [(gloo.Config(), 320), (gloo.BlockingConfig(), 120), (mpich.Config(), 320)],
)
def test_the_full_matrix_is_every_combination(config: Config, count: int) -> None:
    cells = config.cells()
    assert len(cells) == len(set(cells)) == count
    assert {one.ordering for one in cells} == set(orderings.NAMED)
    assert {one.ranks for one in cells} == {2, 3, 4, 5}


@pytest.mark.parametrize(
    ("changes", "library", "verdict"),
    [
        ({}, "gloo", "deadlock"),
        ({"ordering": "parity"}, "gloo", "ok"),
        ({"style": "isend"}, "gloo", "ok"),
        ({"style": "isend"}, "xccl", "livelock"),
        ({"style": "isend", "ordering": "parity"}, "xccl", "ok"),
        ({"style": "batch"}, "xccl", "ok"),
        ({"nbytes": 8112}, "mpich", "ok"),
        ({"nbytes": 8113}, "mpich", "deadlock"),
        ({"ordering": "receive-first"}, "mpich", "deadlock"),
    ],
)
def test_predictions_are_the_model_s(changes: dict[str, Any], library: str, verdict: str) -> None:
    assert cell(**changes).predicted(semantics(library)) == verdict


def test_the_plan_has_every_cell_as_often_as_said_in_an_order_of_its_seed() -> None:
    plan = SMALL.plan()
    assert Counter(plan) == dict.fromkeys(SMALL.cells(), 3)
    assert plan == SMALL.plan()
    assert plan != SMALL.cells() * 3
    other = replace(SMALL, seed=1)
    assert Counter(other.plan()) == Counter(plan) and other.plan() != plan


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"repeats": 0}, "repeats is 0"),
        ({"ranks": ()}, "an empty matrix; give at least one"),
        ({"styles": ()}, "an empty matrix"),
        ({"orderings": ("upwards",)}, "unknown ordering 'upwards'"),
        ({"orderings": ("SRS",)}, "has 3 letters for 2 ranks"),
        ({"ranks": (1,)}, "ranks is 1"),
        ({"sizes": (-1,)}, "nbytes is -1"),
    ],
)
def test_what_is_no_matrix_is_refused_before_anything_runs(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**changes).plan()


def test_patience_is_checked_too() -> None:
    with pytest.raises(ValueError, match="window_s is 9"):
        Config(window_s=9, limit_s=5).harness(launcher=None)  # type: ignore[arg-type]


class FakeHarness:
    """Decides each probe as told, without processes."""

    def __init__(self, verdict: str) -> None:
        self._verdict = verdict

    def measure(self, plan: Sequence[Cell]) -> Iterator[tuple[Cell, Sample]]:
        return ((one, samples.sample(self._verdict)) for one in plan)


def test_every_sample_is_kept_with_its_cell() -> None:
    stored = matrix.measure(SMALL, FakeHarness("ok"), semantics("gloo"), name="test")  # type: ignore[arg-type]
    assert [(record["ordering"], record["ranks"], record["style"]) for record in stored] == [
        (one.ordering, one.ranks, one.style) for one in SMALL.cells()
    ]
    assert all(record["samples"] == [{"verdict": "ok"}] * 3 for record in stored)
    assert {record["predicted"] for record in stored if record["ordering"] == "parity"} == {"ok"}


@pytest.mark.parametrize("verdict", ["hang", "unclear"])
def test_what_is_not_ok_is_kept_whole_with_where_each_rank_stood(verdict: str) -> None:
    seen = Sample(
        verdict=verdict,  # type: ignore[arg-type]
        done=(0, SETTING_UP, 4),
        operations=(4, 4, 4),
        cpu_seconds=(0.0, 0.01, 0.0),
        status=("sleeping", "not started", "sleeping"),
        exits=(None, None, None),
        said="last words",
    )
    (record,) = matrix.records([cell()], [(cell(), seen)], semantics("gloo"))
    (stored,) = record["samples"]
    assert stored == {**seen.to_json(), "at": ["send(1)", None, None]}


def test_styles_of_the_blocking_matrix_are_those_that_have_an_isend() -> None:
    assert {*gloo.BlockingConfig().styles} == {*STYLES} - {"send"}
