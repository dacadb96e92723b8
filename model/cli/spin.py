"""`python -m model spin`: SPIN's verdict and number of states beside the model's."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tabulate import tabulate

from model.cli.given import Given
from model.cli.promela import Encoding, check_loop
from model.rings.orderings import ordering
from model.semantics.libraries import semantics
from model.validation.spin import compare
from model.validation.spin_ring import compare_loop


@dataclass(frozen=True, slots=True, kw_only=True)
class Spin(Given):
    """Run SPIN on a program: 0 where it agrees with the model, 1 where not, 2 on bad usage or a missing tool."""

    encoding: Encoding = "straight"
    """straight: one statement an instruction; loop: a ring of blocking calls, as a loop with a counter."""
    limit_s: float = 300.0
    """Seconds that spin, the compiler and the verifier may each run."""
    max_states: int = 100_000_000
    """Give up past so many states of the model."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        rules = semantics(self.semantics)
        if self.encoding == "straight":
            found = compare(self.made(), rules, limit_s=self.limit_s, max_states=self.max_states)
        else:
            check_loop(self)
            found = compare_loop(
                ranks=self.ranks,
                rounds=self.rounds,
                ordering=ordering(self.ordering, self.ranks),
                semantics=rules,
                limit_s=self.limit_s,
                max_states=self.max_states,
            )
        if self.json:
            print(json.dumps(found.to_json()))
        else:
            rows = [
                ["model", found.verdict, found.states, found.transitions],
                ["SPIN", found.spin.verdict, found.spin.states, found.spin.transitions],
            ]
            print(tabulate(rows, headers=["", "verdict", "states", "transitions"], tablefmt="simple"))
            print("they agree" if found.agree else "THEY DISAGREE")
        return 0 if found.agree else 1
