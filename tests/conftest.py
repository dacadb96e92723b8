"""What every test may ask for: tools and modules that a machine may lack, and one hypothesis profile."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import settings

IN_CI = bool(os.environ.get("RINGPROOF_CI"))


def pytest_configure() -> None:
    # Before torch is first imported: two test processes with two threads each are slower than with one.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Before a kernel is first imported: on a machine without a GPU, Triton's interpreter runs them.
    os.environ.setdefault("TRITON_INTERPRET", "1")
    # A drawing test must not ask for a display.
    os.environ.setdefault("MPLBACKEND", "agg")
    settings.register_profile("ringproof", deadline=None, derandomize=IN_CI, print_blob=True)
    settings.load_profile("ringproof")


def missing(what: str, how: str) -> NoReturn:
    """Skip the test, or fail it where CI promises that everything is installed, naming what is missing."""
    message = f"{what} is missing; to run this test: {how}"
    if IN_CI:
        pytest.fail(f"{message} (RINGPROOF_CI is set, so this is no skip)", pytrace=False)
    pytest.skip(message)


@pytest.fixture(scope="session")
def require() -> Callable[[str, str], str]:
    """`require("spin", "apt-get install spin")` is the tool's path; a test without its tool is skipped."""

    def require_tool(tool: str, how: str) -> str:
        # Wheels put their programs (mpiexec, ruff) beside the interpreter, which need not be on the PATH.
        beside = str(Path(sys.executable).parent)
        path = shutil.which(tool, path=os.pathsep.join([beside, os.environ.get("PATH", os.defpath)]))
        return path or missing(f"the program {tool!r}", how)

    return require_tool


@pytest.fixture(scope="session")
def require_module() -> Callable[[str, str], None]:
    """`require_module("mpi4py", "pip install mpi4py")` skips a test whose Python module is not installed."""

    def require_importable(name: str, how: str) -> None:
        if importlib.util.find_spec(name) is None:
            missing(f"the Python module {name!r}", how)

    return require_importable
