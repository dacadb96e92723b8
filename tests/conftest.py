"""What every test may ask for: tools and modules that a machine may lack, one hypothesis profile, and the same signals
and limits whoever starts the suite and whatever else the machine does."""

import importlib.util
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import pytest_timeout
from hypothesis import settings

from tests.patience import stretch

IN_CI = bool(os.environ.get("RINGPROOF_CI"))


EXPECTED = ("SIGINT", "SIGQUIT", "SIGTERM", "SIGALRM", "SIGCHLD")
"""Signals that tests send, or wait for. SIGHUP is not among them: `nohup make test` is to outlive its terminal."""


OF_STARTERS = (
    *("MAKEFLAGS", "MFLAGS", "MAKELEVEL"),  # `make -j test`: a make that a test starts is none of its jobs
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),  # a container of a job
    *("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"),  # nothing leaves the machine
)
"""Environment variables that are meant for who starts the suite, and that what tests start would take for its own."""


def pytest_configure() -> None:
    listen_to_signals()
    for name in OF_STARTERS:
        os.environ.pop(name, None)
    # Before torch is first imported: two test processes with two threads each are slower than with one.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Before a kernel is first imported: on a machine without a GPU, Triton's interpreter runs them.
    os.environ.setdefault("TRITON_INTERPRET", "1")
    # A drawing test must not ask for a display.
    os.environ.setdefault("MPLBACKEND", "agg")
    settings.register_profile("ringproof", deadline=None, derandomize=IN_CI, print_blob=True)
    settings.load_profile("ringproof")


def listen_to_signals() -> None:
    """A script that starts a command in the background has it ignore Ctrl-C, and other starters block signals. The
    processes that tests start would inherit that, and not end when they are told to."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for name in EXPECTED:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: pytest_timeout.Settings) -> object:
    """The limit of a whole test stretches, too."""
    return pytest_timeout.pytest_timeout_set_timer(item, settings._replace(timeout=stretch(settings.timeout)))


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
