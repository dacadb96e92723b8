"""A store of small results."""

import copy
from pathlib import Path
from typing import Any

import pytest

from experiments.records.paths import ResultPaths
from experiments.records.results import ResultStore
from tests.experiments import samples


@pytest.fixture(scope="session")
def _bodies() -> dict[str, dict[str, Any]]:
    return samples.bodies()


@pytest.fixture
def bodies(_bodies: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What each experiment stores; a test may change its copy."""
    return copy.deepcopy(_bodies)


@pytest.fixture
def store(tmp_path: Path, bodies: dict[str, dict[str, Any]]) -> ResultStore:
    """Those, written to files."""
    return samples.write(tmp_path / "results", bodies)


@pytest.fixture
def contrary(bodies: dict[str, dict[str, Any]], tmp_path: Path) -> ResultStore:
    """The same with one measurement that contradicts the model: parity hangs on gloo."""
    altered = copy.deepcopy(bodies)
    cell = next(cell for cell in altered["gloo-matrix"]["cells"] if cell["ordering"] == "parity")
    cell["samples"] = [samples.sample("hang").to_json()]
    return samples.write(tmp_path / "contrary", altered)


@pytest.fixture
def empty(tmp_path: Path) -> ResultStore:
    """No results at all."""
    return ResultStore(ResultPaths(root=tmp_path / "nothing"))
