"""How long a round takes when a program is repeated for ever: the maximum cycle ratio of its event graph.

A circuit of weight w that carries t tokens cannot be passed more than t times in w (Karp 1978; Baccelli, Cohen,
Olsder, Quadrat 1992), and the slowest circuit sets the pace (theory, statement 5).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from model.display.shown import Shown
from model.display.text import table
from model.events.build import build_graph
from model.events.timing import UNIT, Timing
from model.semantics.columns import Columns
from model.semantics.guards import guards_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One rank of the critical circuit: while it is in operation `at` of its list, it waits for `waits_for`."""

    rank: int
    at: int
    waits_for: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Period(Shown):
    """ticks: per round, exactly; None where no round is ever done. circuit: the ranks that set the pace, each waiting
    for the next and the last for the first; weight and tokens: of it, so that ticks = weight / tokens.
    """

    ticks: Fraction | None
    weight: int
    tokens: int
    circuit: tuple[Hop, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; `period` is text, such as `5/2`."""
        return {
            "period": None if self.ticks is None else str(self.ticks),
            "weight": self.weight,
            "tokens": self.tokens,
            "circuit": [[hop.rank, hop.at, hop.waits_for] for hop in self.circuit],
        }

    def _lines(self) -> Iterator[str]:
        if self.ticks is None:
            yield "no round is ever done: a circuit carries no token"
        else:
            yield f"{self.ticks} ticks a round: the critical circuit has {self.weight}, and {self.tokens} tokens"
        yield table(*self._table())

    def _table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        return ("rank", "in its operation", "waits for"), [(hop.rank, hop.at, hop.waits_for) for hop in self.circuit]


def period(columns: Columns, timing: Timing = UNIT) -> Period:
    """The period of one round of a program, repeated without a barrier between the rounds, connections made.

    Raises ValueError where a round leaves messages over.
    """
    built = build_graph(guards_of(columns, repeated=True), timing, repeated=True)
    graph = built.graph
    critical = graph.critical()
    assert critical is not None, "a rank repeats, so there is a circuit"
    hops = []
    for arc in reversed(critical.arcs):
        tail, head = int(graph.tails[arc]), int(graph.heads[arc])
        waits, waited = (int(columns.rank_of[built.thread[event]]) for event in (head, tail))
        instruction = built.instruction(head)
        if waits != waited and instruction is not None:
            hops.append(Hop(rank=waits, at=int(columns.index[instruction]), waits_for=waited))
    return Period(ticks=critical.ratio, weight=critical.weight, tokens=critical.tokens, circuit=tuple(hops))
