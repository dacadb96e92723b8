"""The command line of the model inside the test's own process, which saves the start of another."""

import sys

import pytest

from model.__main__ import main


class Inside:
    """`python -m model`, as it would run in a process of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Exit status, standard output and standard error."""
        self._monkeypatch.setattr(sys, "argv", ["model", *arguments])
        try:
            status = main()
        except SystemExit as stop:  # tyro's own answer to usage that it does not understand
            status = stop.code if isinstance(stop.code, int) else 1
        return status, *self._capsys.readouterr()


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Inside:
    return Inside(monkeypatch, capsys)
