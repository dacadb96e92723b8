"""`from reference import Engine`: loaded when it is used, and torch not before."""

import subprocess
import sys

import pytest

import reference
from tests.patience import stretch


def imported(code: str) -> set[str]:
    """The top-level modules that a new interpreter has after some code."""
    script = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=stretch(240), check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_importing_it_imports_no_torch() -> None:
    light = imported("import reference; dir(reference)")
    assert not light & {"torch", "numpy", "numba", "fastapi", "pydantic", "model"}
    assert "torch" not in imported("from reference import EngineConfig, SamplingParams; EngineConfig(pp=2)")


def test_it_offers_what_a_script_needs() -> None:
    assert [getattr(reference, name).__name__ for name in reference.__all__] == reference.__all__
    assert set(reference.__all__) <= set(dir(reference))
    with pytest.raises(AttributeError, match="it has Engine"):
        reference.Engin  # noqa: B018
