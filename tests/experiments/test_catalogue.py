"""Every experiment is in the catalogue under its name, and its result says where it comes from."""

from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import pytest

from experiments.catalogue import CATALOGUE, REPRODUCED
from experiments.commands import record
from experiments.hang_matrix import gloo
from experiments.publish.claims import CLAIMS
from experiments.records import results
from experiments.records.paths import ResultPaths
from experiments.serving import multi_gpu
from experiments.sweeps import order_space, presence_patterns
from tests.experiments import samples


def test_every_experiment_is_there_under_its_name() -> None:
    names = {gloo.BLOCKING_NAME: gloo.BLOCKING_NAME}
    names |= {name: import_module(one.module).NAME for name, one in CATALOGUE.items() if name not in names}
    assert all(key == name == CATALOGUE[key].name for key, name in names.items())
    assert set(names) == set(CATALOGUE) and len(REPRODUCED) == 6


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_smoke_size_is_a_smaller_one_of_the_same_arguments(name: str) -> None:
    work = CATALOGUE[name].load()
    full, smoke = work.config(), work.smoke
    assert type(full) is type(smoke)
    for field, value in asdict(smoke).items():
        whole = getattr(full, field)
        if field == "limit_between":  # two bounds
            assert whole[0] <= value[0] and value[1] <= whole[1]
        elif isinstance(value, tuple):
            assert set(value) <= set(whole) or max(value) <= max(whole)
        elif isinstance(value, bool):  # a switch has no size
            continue
        elif isinstance(value, int | float):
            assert value <= whole


def test_claims_rest_on_experiments_that_exist() -> None:
    assert {name for claim in CLAIMS for name in claim.shows} == {*REPRODUCED, multi_gpu.NAME}


def test_a_result_is_recorded_with_its_arguments_and_its_time(tmp_path: Path) -> None:
    times = iter([10.0, 17.5])
    config = order_space.Config(ranks=(2, 3))
    paths = ResultPaths(root=tmp_path)
    path = record(CATALOGUE[order_space.NAME], config, paths, samples.STAMP, clock=lambda: next(times))
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
            CATALOGUE[presence_patterns.NAME],
            presence_patterns.Config(orderings=("upwards",)),
            ResultPaths(root=tmp_path),
            samples.STAMP,
        )
    assert list(tmp_path.iterdir()) == []
