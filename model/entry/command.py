"""What a command line does before any command is imported: it chooses one by its first word, or names all.

Light to import: `reference` uses it, too.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class Runnable(Protocol):
    """What the words after a command become."""

    def run(self) -> int:
        """Do it; the exit status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Where a command is. about: the beginning of its docstring. old: former options that are still read."""

    module: str
    name: str
    about: str
    old: Mapping[str, str] = field(default_factory=dict)

    def load(self) -> type[Runnable]:
        """Its class, whose fields are the options."""
        command: type[Runnable] = getattr(importlib.import_module(self.module), self.name)
        return command


def chosen(commands: Mapping[str, Command], words: Sequence[str], prog: str) -> Command:
    """The command that the first word names; ValueError where it names none. prog: how the program was called."""
    name = words[0] if words else ""
    if name not in commands:
        what = f"unknown command {name!r}" if name else "no command"
        raise ValueError(f"{what}; choose one of {', '.join(commands)}, or see {prog} --help")
    return commands[name]


def overview(commands: Mapping[str, Command], prog: str, about: str) -> str:
    """The help that names every command. about: what all of them are for."""
    from textwrap import fill

    wide = max(map(len, commands)) + 4
    lines = [f"usage: {prog} COMMAND [OPTIONS]", "", about, ""]
    lines += [
        fill(item.about, 100, initial_indent=f"  {name}".ljust(wide), subsequent_indent=" " * wide)
        for name, item in commands.items()
    ]
    return "\n".join([*lines, "", f"{prog} COMMAND --help describes the options of one."])
