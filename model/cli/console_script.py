"""The console script `ringproof`: the commands of the model, of the pipeline and of the experiments.

A script that pip installs does not look for packages in the working folder, so a `model.py` or an `experiments/` of
the user's own is not taken for ours, as it is by `python -m model`.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence

from model.cli.commands import COMMANDS, main
from model.entry.command import Command, chosen, overview
from model.entry.output import ends_quietly
from model.entry.shadowing import check_packages

ABOUT = "Which send/receive orders hang, on which library, and how fast are the others?"

PIPELINE: Mapping[str, Command] = {
    "generate": Command(module="reference.cli.generate", name="Generate", about="Continue prompts."),
    "chat": Command(module="reference.cli.chat", name="Chat", about="Talk to a model."),
    "serve": Command(module="reference.cli.serve", name="Serve", about="Serve a model over HTTP."),
    "bench": Command(module="reference.cli.bench", name="Bench", about="Measure the pipeline, or a server."),
}
"""Commands of `python -m reference`."""

EXPERIMENTS = Command(
    module="experiments.commands",
    name="Reproduce",
    about="Hold the model's predictions against measurements; ringproof experiments --help lists what there is.",
)

EVERY: Mapping[str, Command] = {**COMMANDS, **PIPELINE, "experiments": EXPERIMENTS}


def ringproof(words: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit status. words: those after the name of the script."""
    words = sys.argv[1:] if words is None else words
    os.environ["PYTHONSAFEPATH"] = "1"  # the processes that a command starts do not look in the working folder, either
    first = words[0] if words else ""
    if first in COMMANDS:
        return main(words, prog="ringproof")
    return ends_quietly(lambda: _other(first, words))


def _other(first: str, words: Sequence[str]) -> int:
    if first in PIPELINE:
        return _elsewhere("reference", words, prog="ringproof")
    if first == "experiments":
        return _elsewhere("experiments", words[1:], prog="ringproof experiments")
    if first in ("-h", "--help"):
        print(overview(EVERY, "ringproof", ABOUT))
        return 0
    try:
        chosen(EVERY, words, "ringproof")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
    return 2


def _elsewhere(package: str, words: Sequence[str], *, prog: str) -> int:
    try:
        check_packages(package)
        command_line = importlib.import_module(f"{package}.__main__")
    except (ValueError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    sys.argv = [prog, *words]  # results are stamped with it
    status: int = command_line.main(words, prog=prog)
    return status
