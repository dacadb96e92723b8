"""Durations of a command's program: LogGP from the command line, or one tick a transfer."""

from __future__ import annotations

from dataclasses import dataclass

from model.cli.given import Given
from model.events.timing import UNIT, Timing, loggp
from model.rings.orderings import ordering
from model.semantics.columns import Columns, columns_of
from model.semantics.libraries import semantics
from model.semantics.lowering import lower
from model.semantics.table import columns_of_table, ring_table

LISTS = 1000  # ring steps up to which the program is made as lists of operations


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed(Given):
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
        if self.in_units:
            return UNIT
        return loggp(latency=self.latency, overhead=self.overhead, gap=self.gap, per_byte=self.per_byte)

    def columns(self) -> Columns:
        """The program in columns, a large ring without its operations."""
        rules = semantics(self.semantics)
        if self.program == "ring" and self.style == "send" and self.ranks * self.rounds > LISTS:
            policy = ordering(self.ordering, self.ranks)
            return columns_of_table(
                ring_table(ranks=self.ranks, rounds=self.rounds, ordering=policy, nbytes=self.nbytes), rules
            )
        return columns_of(lower(self.made(), rules))
