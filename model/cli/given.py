"""The program that a command is about: a named one with its sizes, or a file."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import tyro

from model.program.checked import Program
from model.program.files import EXPECTED, load
from model.rings import orderings
from model.rings import ring as programs


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Arguments of every command that takes a program."""

    program: tyro.conf.Positional[str]
    """A named program (ring), or a file with per-rank operation lists."""
    ranks: int = 4
    """Ranks of a named program."""
    rounds: int = 1
    """Rounds of a named program."""
    ordering: str = "parity"
    """Which half each rank does first: a named policy, or a vector such as SRS."""
    style: programs.Style = "send"
    """How the step of a ring is written."""
    nbytes: int = 1
    """Bytes of every message of a named program."""
    semantics: str = "rendezvous"
    """The library's promise: a name of `python -m model names`, or bounded(k)."""

    def made(self) -> Program:
        """The program. Raises ValueError where there is none of that name or form."""
        if self.program in programs.NAMED:
            return programs.NAMED[self.program](
                ranks=self.ranks,
                rounds=self.rounds,
                ordering=orderings.ordering(self.ordering, self.ranks),
                style=self.style,
                nbytes=self.nbytes,
            )
        for field in fields(Given):
            if field.name not in ("program", "semantics") and getattr(self, field.name) != field.default:
                raise ValueError(f"--{field.name} is for a named program, and {self.program!r} is none; leave it out")
        if not self.program or not Path(self.program).exists():
            known = ", ".join(programs.NAMED)
            raise ValueError(f"{self.program!r} is neither a named program ({known}) nor a file; {EXPECTED}")
        return load(Path(self.program))
