"""The program that a command is about, with its library and its durations."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import tyro

from model.program.checked import Program
from model.program.files import EXPECTED, load, read
from model.rings.orderings import ordering
from model.rings.ring_program import Style, ring, ring_table
from model.semantics.libraries import semantics
from model.semantics.parameters import Semantics, SemanticsByComm, semantics_of
from model.verdict.arguments import as_semantics

if TYPE_CHECKING:
    from model.events.timing import Timing
    from model.semantics.columns import Columns
    from model.semantics.table import Table

NAMED: Mapping[str, Callable[..., Program]] = {"ring": ring}
"""Programs that have a name, each a function of sizes, an ordering and a style."""

MAX_LISTS = 1000
"""Ring steps up to which a ring is made as lists of operations; a larger one is a table."""

STDIN = "-"

OptionalPath = Optional[Path]  # noqa: UP045
"""`Path | None` in the form of which tyro needs no typeguard, whose import costs as much as tyro's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramArguments:
    """Arguments of every command that takes a program."""

    program: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PROGRAM")]
    """A named program (ring), a file of one line a rank, or - for standard input."""
    ranks: int = 4
    """Ranks of a named program."""
    rounds: int = 1
    """Rounds of a named program."""
    ordering: str = "parity"
    """Which half each rank does first: a named policy, or a vector such as SRS."""
    style: Style = "send"
    """How the step of a ring is written."""
    nbytes: int = 1
    """Bytes of every message of a named program."""
    semantics: str = "rendezvous"
    """The library's promise: a name of `python -m model names`, bounded(k), or one for each communicator:
    world=nccl,A=gloo."""

    def lists(self) -> Program:
        """The program as lists of operations. Raises ValueError where there is none of that name or form."""
        if self.program in NAMED:
            return NAMED[self.program](
                ranks=self.ranks,
                rounds=self.rounds,
                ordering=ordering(self.ordering, self.ranks),
                style=self.style,
                nbytes=self.nbytes,
            )
        for field in fields(ProgramArguments):
            if field.name not in ("program", "semantics") and getattr(self, field.name) != field.default:
                raise ValueError(f"--{field.name} is for a named program, and {self.program!r} is none; leave it out")
        if self.program == STDIN:
            return _standard_input()
        if not self.program or not _exists(self.program):
            known = ", ".join(NAMED)
            raise ValueError(f"{self.program!r} is neither a named program ({known}) nor a file; {EXPECTED}")
        return load(Path(self.program))

    def fits_table(self) -> bool:
        """Whether the program is a large ring, and the library one that takes a table."""
        if (self.program, self.style) != ("ring", "send") or self.ranks * self.rounds <= MAX_LISTS:
            return False
        from model.semantics.table import fits_table  # numpy is slow to import

        return all(map(fits_table, self.libraries().values()))

    def table(self) -> Table:
        """A large ring."""
        policy = ordering(self.ordering, self.ranks)
        return ring_table(ranks=self.ranks, rounds=self.rounds, ordering=policy, nbytes=self.nbytes)

    def library(self) -> Semantics:
        """The one library; ValueError where each communicator has its own."""
        if "=" in self.semantics:
            raise ValueError(f"--semantics {self.semantics} names communicators; give one library here")
        return semantics(self.semantics)

    def libraries(self, program: Program | Table | None = None) -> SemanticsByComm:
        """The library of every communicator. Raises ValueError on one that `program` does not use."""
        if "=" not in self.semantics:
            return as_semantics(self.semantics)
        by_comm: dict[str, str] = {}
        for item in self.semantics.split(","):
            comm, _, name = item.partition("=")
            if comm in by_comm or not name:
                raise ValueError(f"--semantics {item!r} is not comm=library, once each; write world=nccl,A=gloo")
            by_comm[comm] = name
        return as_semantics(by_comm, program)


def check_file(path: Path, what: str) -> None:
    """Raises ValueError where a path is no file. what: which file is expected there."""
    if path.is_dir():
        raise ValueError(f"{str(path)!r} is a folder; name {what}")
    if not _exists(str(path)):
        raise ValueError(f"there is no file {str(path)!r}; name {what}")


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # too long a name, or one with a zero byte
        return False


def _standard_input() -> Program:
    try:
        return read(sys.stdin.buffer.read())
    except ValueError as error:
        raise ValueError(f"standard input: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedArguments(ProgramArguments):
    """Arguments of every command that measures time. Without a duration every transfer takes one unit."""

    latency: float = 0.0
    """LogGP's L: seconds from the start of a message to the arrival of its first byte."""
    overhead: float = 0.0
    """o: seconds that a send or a receive keeps its rank."""
    gap: float = 0.0
    """g: least seconds between two sends of a rank."""
    per_byte: float = 0.0
    """G: seconds for each further byte."""

    @property
    def in_units(self) -> bool:
        """Whether no duration was given."""
        return (self.latency, self.overhead, self.gap, self.per_byte) == (0.0, 0.0, 0.0, 0.0)

    def timing(self) -> Timing:
        """The durations; ValueError on a negative one."""
        from model.events.timing import UNIT, loggp

        if self.in_units:
            return UNIT
        return loggp(latency=self.latency, overhead=self.overhead, gap=self.gap, per_byte=self.per_byte)

    def columns(self) -> Columns:
        """The program in columns, a large ring without its operations."""
        from model.semantics.columns import columns_of
        from model.semantics.lowering import lower
        from model.semantics.table import columns_of_table

        if self.fits_table():
            return columns_of_table(self.table(), semantics_of(self.libraries(), "world"))
        program = self.lists()
        return columns_of(lower(program, self.libraries(program)))
