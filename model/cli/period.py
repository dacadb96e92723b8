"""`python -m model period`: how long a round takes when the program is repeated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tabulate import tabulate

from model.cli.output import show
from model.cli.timed import Timed
from model.events.throughput import Period, period

SHOWN = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodOf(Timed):
    """The time per round of a program that repeats: 0, or 1 if no round is ever done, or 2 on bad usage."""

    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        timing = self.timing()
        found = period(self.columns(), timing)
        seconds = None if self.in_units or found.ticks is None else float(found.ticks * timing.tick)
        show(self.json, {**found.to_json(), "seconds": seconds}, lambda: _lines(found, seconds))
        return 1 if found.ticks is None else 0


def _lines(found: Period, seconds: float | None) -> Iterator[str]:
    if found.ticks is None:
        yield "no round is ever done: a circuit carries no token"
    elif seconds is None:
        yield f"{found.ticks} transfers a round: the critical circuit has {found.weight}, and {found.tokens} tokens"
    else:
        yield f"{seconds:.6g} s a round, {found.tokens} tokens on the critical circuit"
    rows = [[hop.rank, hop.at, hop.waits_for] for hop in found.circuit[:SHOWN]]
    yield tabulate(rows, headers=["rank", "in its operation", "waits for"], tablefmt="simple")
    if len(found.circuit) > SHOWN:
        yield f"and {len(found.circuit) - SHOWN} more"
