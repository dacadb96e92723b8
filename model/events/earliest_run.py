"""The graph engine: the verdict, the makespan and the shortest dead circuit from the event graph, in linear time.

Liveness is the marked graph's: no deadlock iff every circuit carries a token (Commoner, Holt, Even, Pnueli 1971).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from model.events.build import Built, build_graph
from model.events.event_graph import NEVER
from model.events.timing import UNIT, Timing
from model.semantics.arrays import NONE, Bools, Ints
from model.semantics.columns import Columns
from model.semantics.instructions import Lowered
from model.states.machine import State


class Waiting(NamedTuple):
    """A rank that cannot pass operation `at` of its list before rank `waits_for` does something."""

    rank: int
    at: int
    waits_for: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a program, every event as early as possible.

    times: ticks, by event of the built; NEVER for those that cannot be. passed: by instruction.
    """

    built: Built
    times: Ints
    passed: Bools

    @property
    def hangs(self) -> bool:
        """Whether some thread does not come to its end."""
        return not bool(self.passed.all())

    @property
    def makespan(self) -> int | None:
        """Ticks until the last rank is at its end; None where it hangs."""
        return None if self.hangs else int(self.times.max(initial=0))

    @property
    def left_over(self) -> Ints:
        """The messages that are posted and never meet another, by their number."""
        columns, partner = self.built.columns, self.built.partner
        posted = self.passed[columns.at]
        met = (partner != NONE) & posted[partner]
        left: Ints = np.flatnonzero(posted & ~met)
        return left

    def stuck_ranks(self) -> Ints:
        """The ranks that do not come to their end, in order."""
        ranks: Ints = np.unique(self.built.columns.rank_of[self.built.columns.thread_of()[~self.passed]])
        return ranks

    def circuit(self) -> tuple[Waiting, ...]:
        """A shortest dead circuit, each waiting for the next and the last for the first.

        If there is none, a shortest chain to a rank that has finished or does not do what is waited for.
        """
        arcs: Sequence[int] = self.built.graph.dead_circuit(self.times)
        if arcs:
            # an arc runs from what is waited for to who waits: against the arcs each waits for the next
            found = tuple(filter(None, map(self._wait, reversed(arcs))))
            start = min(range(len(found)), key=lambda at: found[at].rank, default=0)
            return found[start:] + found[:start]
        stuck = np.flatnonzero(self.times == NEVER)
        return tuple(filter(None, map(self._wait, self.built.graph.chain(self.times, int(stuck[0])))))

    def _wait(self, arc: int) -> Waiting | None:
        graph, columns, thread = self.built.graph, self.built.columns, self.built.thread
        tail, head = int(graph.tails[arc]), int(graph.heads[arc])
        waits, waited = int(columns.rank_of[thread[head]]), int(columns.rank_of[thread[tail]])
        instruction = self.built.instruction(head)
        if waits == waited or instruction is None:
            return None
        return Waiting(rank=waits, at=int(columns.index[instruction]), waits_for=waited)


def run(columns: Columns, timing: Timing = UNIT) -> Run:
    """The run of a columns program. Raises ValueError as `columns` and `wire` do."""
    built = build_graph(columns, timing)
    times = built.graph.run()
    return Run(built=built, times=times, passed=times[built.place + 1] != NEVER)


def final_state(found: Run, lowered: Lowered) -> State:
    """Where the transition system of the same program ends: its only state without steps (statement 1)."""
    columns, partner = found.built.columns, found.built.partner
    passed = np.concatenate(([0], np.cumsum(found.passed)))
    heads = tuple((passed[columns.starts[1:]] - passed[columns.starts[:-1]]).tolist())
    left = found.left_over.tolist()
    assert len(lowered.messages) == len(partner)
    return State(
        heads,
        tuple(message for message in left if columns.sends[message]),
        tuple(message for message in left if not columns.sends[message]),
    )
