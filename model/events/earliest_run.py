"""The earliest run of a program from its event graph, in linear time: where it ends, its makespan.

Liveness is the marked graph's: no deadlock iff every circuit carries a token (Commoner, Holt, Even, Pnueli 1971).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.events.build import Built, build_graph
from model.events.event_graph import NEVER
from model.events.timing import UNIT, Timing
from model.semantics.arrays import Bools, Ints
from model.semantics.columns import Columns
from model.semantics.guards import Guards, guards_of


@dataclass(frozen=True, slots=True, kw_only=True)
class EarliestRun:
    """One run of a program, every event as early as possible (ASAP).

    times: ticks, by event of `built`; NEVER for those that cannot be. passed: by instruction.
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
    def positions(self) -> Ints:
        """By thread, where it ends: the only state without steps of the transition system (statement 1)."""
        columns = self.built.columns
        passed = np.concatenate(([0], np.cumsum(self.passed)))
        positions: Ints = passed[columns.starts[1:]] - passed[columns.starts[:-1]]
        return positions

    @property
    def unreceived(self) -> Ints:
        """The messages that are posted and never meet another, by their number."""
        return self.built.guards.unreceived(self.positions)


def run(columns: Columns, timing: Timing = UNIT) -> EarliestRun:
    """The earliest run of a program in columns. Raises ValueError as `build_graph` does."""
    return run_guards(guards_of(columns), timing)


def run_guards(guards: Guards, timing: Timing = UNIT) -> EarliestRun:
    """The same from its guards."""
    built = build_graph(guards, timing)
    times = built.graph.run()
    return EarliestRun(built=built, times=times, passed=times[built.arrival + 1] != NEVER)
