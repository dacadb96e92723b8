"""`python -m model synth`: a deadlock-free order for a communication pattern or a given schedule."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from model.entry.output import show

if TYPE_CHECKING:
    from model.synthesis.orders import Synthesis


@dataclass(frozen=True, slots=True, kw_only=True)
class Synth:
    """Order the messages so that nothing can deadlock under rendezvous: 0 if that is possible, 1 if no order is."""

    pattern: tyro.conf.Positional[str]
    """ring, bidirectional, chain (of --ranks), torus (--rows --columns), stages (--rows stages of --columns tensor
    parallel ranks); a JSON file {"ranks": 3, "transfers": [[0, 1], ...]}; or a schedule, as CSV of compute_comms."""
    ranks: int = 4
    """Ranks of a named pattern."""
    rows: int = 2
    """Rows of a torus, or pipeline stages."""
    columns: int = 2
    """Columns of a torus, or ranks of a stage."""
    rounds: int = 1
    """How often the pattern is repeated."""
    json: bool = False
    """Print one JSON object; its `programs` are of the form that `check` reads."""

    def run(self) -> int:
        synthesis = self._synthesis()
        show(self.json, synthesis.to_json(), lambda: [str(synthesis)])
        return 0 if synthesis.result is not None else 1

    def _synthesis(self) -> Synthesis:
        from model.pipelines.torch_schedules import load as load_schedule
        from model.synthesis import patterns
        from model.synthesis.orders import of_pattern, of_precedence
        from model.synthesis.precedence_of import of_schedule

        if self.pattern in patterns.LINES:
            return of_pattern(patterns.LINES[self.pattern](self.ranks), rounds=self.rounds)
        if self.pattern in patterns.GRIDS:
            return of_pattern(patterns.GRIDS[self.pattern](self.rows, self.columns), rounds=self.rounds)
        file = Path(self.pattern)
        if not file.is_file():
            known = ", ".join((*patterns.LINES, *patterns.GRIDS))
            raise ValueError(f"{self.pattern!r} is neither a named pattern ({known}) nor a file")
        if file.suffix == ".csv":
            return of_precedence(of_schedule(load_schedule(file)))
        return of_pattern(patterns.load(file), rounds=self.rounds)
