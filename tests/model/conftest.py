"""The command line of the model: in a process of its own, and inside the test's, which saves the start of another."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from model.cli.commands import main
from tests.patience import stretch


class Inside:
    """`python -m model`, as it would run in a process of its own."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Exit status, standard output and standard error."""
        try:
            status = main(arguments, prog="python -m model")
        except SystemExit as stop:  # tyro's own answer to usage that it does not understand
            status = stop.code if isinstance(stop.code, int) else 1
        return status, *self._capsys.readouterr()


@pytest.fixture
def inside(capsys: pytest.CaptureFixture[str]) -> Inside:
    return Inside(capsys)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "model", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=stretch(120),
        check=False,
    )


def write(file: Path, *ranks: list[dict[str, Any]]) -> str:
    file.write_text(json.dumps({"programs": list(ranks)}))
    return str(file)


def assert_one_line(stderr: str, *said: str) -> None:
    assert stderr.startswith("error: ")
    assert stderr.endswith("\n")
    assert len(stderr.splitlines()) == 1
    for words in said:
        assert words in stderr
