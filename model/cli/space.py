"""`python -m model space`: all 2^P orderings of one ring step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model.cli.output import advance, bar, show
from model.verdict.tables import table

if TYPE_CHECKING:
    from model.rings import order_space as orderspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """All 2^P orderings of one ring step under rendezvous: which deadlock, how long the others take."""

    ranks: int
    """P, 2 to 28."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        from model.rings import order_space as orderspace  # numba is slow to import

        with bar("orderings", total=2 ** min(self.ranks, 64) if self.ranks > 0 else None) as shown:
            result = orderspace.space(self.ranks, progress=lambda done: advance(shown, done))
        show(self.json, result.to_json(), lambda: space_lines(result))
        return 0


def space_lines(space: orderspace.Space) -> Iterator[str]:
    """The order space as a sentence and two tables: all orderings, and one of each class of rotations."""
    classes = space.rotations.orderings
    yield f"{space.orderings} orderings of {space.ranks} ranks under rendezvous, {classes} up to rotation"
    yield ""
    once = [(str(steps), count, space.rotations.makespan[steps]) for steps, count in space.makespan.items()]
    period = [(str(steps), count, space.rotations.period[steps]) for steps, count in space.period.items()]
    for title, found in (("one round", once), ("repeated, per round", period)):
        rows = [["deadlock", space.deadlocks, space.rotations.deadlocks]]
        rows += [[f"{steps} steps", count, turned] for steps, count, turned in found]
        yield table([title, "orderings", "up to rotation"], rows)
        yield ""
