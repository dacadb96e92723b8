"""What a result is about: kept beside the evidence, for titles, pictures and cures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from model.program.checked import Program
from model.semantics.parameters import EVERY_COMM, Semantics

if TYPE_CHECKING:
    from model.semantics.table import Table


class Change(Protocol):
    """A change to a program, and the program that it makes (`model.synthesis.cure`)."""

    @property
    def what(self) -> str: ...

    @property
    def program(self) -> Program: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A program, the libraries under which it was checked, and what it is called.

    propose: looks for a change under which the program finishes; None where nobody above this room gave one.
    """

    program: Program | Table
    semantics: Mapping[str, Semantics]
    name: str = ""
    propose: Callable[[Program, Any, Any], Change | None] | None = None

    @property
    def ranks(self) -> int:
        return len(self.program) if isinstance(self.program, tuple) else self.program.ranks

    @property
    def library(self) -> str:
        """The libraries by name."""
        if set(self.semantics) == {EVERY_COMM}:
            return self.semantics[EVERY_COMM].name
        return ", ".join(f"{comm}: {rules.name}" for comm, rules in self.semantics.items())

    def __str__(self) -> str:
        ranks = f"{self.ranks} rank{'' if self.ranks == 1 else 's'} under {self.library}"
        return f"{self.name}, {ranks}" if self.name else ranks
