"""`python -m model space`: all 2^P orderings of one ring step."""

from __future__ import annotations

from dataclasses import dataclass

from model.cli.output import advance, bar, show
from model.verdict import report


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
        show(self.json, result.to_json(), lambda: report.space_lines(result))
        return 0
