"""Every experiment is in the catalogue under its name, and its result says where it comes from."""

from dataclasses import asdict
from pathlib import Path

import pytest

from experiments import catalogue
from experiments.catalogue import CATALOGUE, record
from experiments.hang_matrix import gloo, mpich
from experiments.publish.claims import CLAIMS
from experiments.records import results
from experiments.records.paths import ResultPaths
from experiments.serving import multi_gpu, pipeline
from experiments.sweeps import order_space, presence_patterns
from tests.experiments import samples


def test_every_experiment_is_there_under_its_name() -> None:
    modules = (order_space, presence_patterns, gloo, mpich, pipeline)
    assert set(CATALOGUE) == {*(module.NAME for module in modules), gloo.BLOCKING_NAME}
    assert all(name == experiment.name for name, experiment in CATALOGUE.items())


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_smoke_size_is_a_smaller_one_of_the_same_arguments(name: str) -> None:
    full, smoke = CATALOGUE[name].config(), CATALOGUE[name].smoke
    assert type(full) is type(smoke)
    for field, value in asdict(smoke).items():
        whole = getattr(full, field)
        if field == "limit_between":  # two bounds
            assert whole[0] <= value[0] and value[1] <= whole[1]
        elif isinstance(value, tuple):
            assert set(value) <= set(whole)
        elif isinstance(value, int | float):
            assert value <= whole


def test_claims_rest_on_experiments_that_exist() -> None:
    assert {name for claim in CLAIMS for name in claim.shows} == {*CATALOGUE, multi_gpu.NAME}


def test_a_result_is_recorded_with_its_arguments_and_its_time(tmp_path: Path) -> None:
    times = iter([10.0, 17.5])
    config = order_space.Config(ranks=(2, 3))
    paths = ResultPaths(root=tmp_path)
    path = record(order_space.NAME, config, paths, samples.STAMP, clock=lambda: next(times))
    stored = results.read(path)
    assert path == paths.result(order_space.NAME)
    assert [space["ranks"] for space in stored["spaces"]] == [2, 3]
    assert stored["provenance"]["arguments"] == {"ranks": [2, 3]}
    assert stored["provenance"]["seed"] is None
    assert stored["provenance"]["wall_s"] == 7.5
    assert stored["provenance"]["commit"] == samples.STAMP.commit


def test_an_experiment_that_fails_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown ordering"):
        record(
            presence_patterns.NAME,
            presence_patterns.Config(orderings=("upwards",)),
            ResultPaths(root=tmp_path),
            samples.STAMP,
        )
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_experiment_is_a_mistake_of_the_program(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        record("no-such", None, ResultPaths(root=tmp_path), samples.STAMP)
    assert "no-such" not in catalogue.CATALOGUE
