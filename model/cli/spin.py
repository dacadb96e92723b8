"""`python -m model promela` and `spin`: a program in the language of SPIN, and SPIN's verdict beside the model's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from model.cli.arguments import ProgramArguments
from model.display.text import table
from model.rings.orderings import ordering

Encoding = Literal["straight", "loop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exported(ProgramArguments):
    """Arguments of both commands."""

    encoding: Encoding = "straight"
    """straight: one statement an instruction; loop: a ring of blocking calls, as a loop with a counter."""

    def check_loop(self) -> None:
        """Raises ValueError where the program is not what the encoding `loop` can say."""
        if (self.program, self.style, self.nbytes) != ("ring", "send", 1):
            raise ValueError("--encoding loop is for the ring of style send and 1 byte; take --encoding straight")
        self.lists()  # sizes and names


@dataclass(frozen=True, slots=True, kw_only=True)
class Promela(_Exported):
    """Print a program as a Promela model, for the model checker SPIN."""

    def run(self) -> int:
        print(self._straight() if self.encoding == "straight" else self._loop(), end="")
        return 0

    def _straight(self) -> str:
        from model.semantics.lowering import lower
        from model.validation.promela import to_promela

        program = self.lists()
        return to_promela(lower(program, self.libraries(program)))

    def _loop(self) -> str:
        from model.validation.spin_ring import loop

        self.check_loop()
        policy = ordering(self.ordering, self.ranks)
        return loop(ranks=self.ranks, rounds=self.rounds, ordering=policy, semantics=self.library())


@dataclass(frozen=True, slots=True, kw_only=True)
class Spin(_Exported):
    """Run SPIN on a program: 0 where it agrees with the model, 1 where not, 2 on bad usage or a missing tool."""

    limit_s: float = 300.0
    """Seconds that spin, the compiler and the verifier may each run."""
    max_states: int = 100_000_000
    """Give up past so many states of the model."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        from model.validation.spin import compare
        from model.validation.spin_ring import compare_loop

        if self.encoding == "straight":
            result = compare(self.lists(), self.library(), limit_s=self.limit_s, max_states=self.max_states)
        else:
            self.check_loop()
            result = compare_loop(
                ranks=self.ranks,
                rounds=self.rounds,
                ordering=ordering(self.ordering, self.ranks),
                semantics=self.library(),
                limit_s=self.limit_s,
                max_states=self.max_states,
            )
        if self.json:
            print(json.dumps(result.to_json()))
        else:
            rows = [
                ["model", result.verdict, result.states, result.transitions],
                ["SPIN", result.spin.verdict, result.spin.states, result.spin.transitions],
            ]
            print(table(["", "verdict", "states", "transitions"], rows))
            print("they agree" if result.agree else "THEY DISAGREE")
        return 0 if result.agree else 1
