"""What commands say beside their output, and how they make an engine of their options. Imports no torch."""

from __future__ import annotations

import importlib.metadata
import io
import os
import re
import sys
from dataclasses import fields
from typing import TYPE_CHECKING

from reference.config import EngineConfig

if TYPE_CHECKING:
    from reference.engine.engine import Engine


def log(line: str) -> None:
    """Tells people something, beside the output."""
    print(line, file=sys.stderr, flush=True)


def engine_config(command: EngineConfig) -> EngineConfig:
    """The engine's part of a command. Raises ValueError on values out of range.

    Commands check nothing while tyro makes them: it would frame the one line of an error in four others.
    """
    return EngineConfig(**{field.name: getattr(command, field.name) for field in fields(EngineConfig)})


def describe(engine: Engine) -> str:
    """One line: what runs, where, and what the model says of it."""
    sizes = "+".join(str(len(layers)) for layers in engine.layers)
    verdict = "no preflight" if engine.prediction is None else f"the model says {engine.prediction.verdict}"
    extension = ", ipex" if engine.ipex else ""
    return (
        f"{engine.config.model}: {sizes} layers on {engine.config.ranks} ranks, {engine.transport}{extension}; "
        f"ordering {engine.ordering.name}, isend as in {engine.semantics!r}: {verdict}"
    )


def install_command(extra: str) -> str:
    """The command that installs an extra's packages, by their names: there need be no checkout to install from."""
    try:
        required = importlib.metadata.requires("ringproof") or []
    except importlib.metadata.PackageNotFoundError:
        required = []
    marked = re.compile(rf"(.+?)\s*;.*\bextra\s*==\s*['\"]{extra}['\"]")
    packages = [found[1] for found in map(marked.match, required) if found]
    return f"pip install {' '.join(repr(package) for package in packages)}" if packages else f"pip install '.[{extra}]'"


def open_standard_streams() -> None:
    """Called when a program begins: what it was started without leads nowhere. Or the next file that is opened would
    have its number, and be taken for it. And a character that the terminal's encoding lacks is no error."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it takes the lowest number that is free
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
