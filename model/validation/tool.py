"""Programs of others that judge beside the model: found or named, run with a limit, and never left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def need(tools: Mapping[str, str]) -> None:
    """Raises ValueError where one of the programs is missing; `tools` gives the Debian packages of each."""
    for tool, packages in tools.items():
        if shutil.which(tool) is None:
            raise ValueError(f"the program {tool!r} is missing; on Debian: apt-get install {packages}")


def run(command: Sequence[str], *, folder: Path, limit_s: float, given: str = "") -> tuple[int, str]:
    """(exit status, what it prints on either stream) of a command with `given` as its standard input.

    It and what it starts are ended when the time is over or this process is interrupted. Raises ValueError when
    the time is over.
    """
    process = subprocess.Popen(
        command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", start_new_session=True,
    )  # fmt: skip
    try:
        said, _ = process.communicate(given, timeout=limit_s)
    except subprocess.TimeoutExpired:
        raise ValueError(
            f"{command[0]} ran for more than {limit_s:g} s; raise --limit-s, or take fewer ranks"
        ) from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return process.returncode, said


def last_line(said: str) -> str:
    """The last line of what a program said, for an error."""
    return (said.strip().splitlines() or ["no message"])[-1]
