"""`python -m model promela`: a program in the language of SPIN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from model.cli.given import Given
from model.rings.orderings import ordering
from model.semantics.libraries import semantics
from model.semantics.lowering import lower
from model.validation.promela import to_promela
from model.validation.spin_ring import loop

Encoding = Literal["straight", "loop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promela(Given):
    """Print a program as a Promela model, for the model checker SPIN."""

    encoding: Encoding = "straight"
    """straight: one statement an instruction; loop: a ring of blocking calls, as a loop with a counter."""

    def run(self) -> int:
        if self.encoding == "straight":
            print(to_promela(lower(self.made(), semantics(self.semantics))), end="")
            return 0
        check_loop(self)
        print(
            loop(
                ranks=self.ranks,
                rounds=self.rounds,
                ordering=ordering(self.ordering, self.ranks),
                semantics=semantics(self.semantics),
            ),
            end="",
        )
        return 0


def check_loop(given: Given) -> None:
    """Raises ValueError where a program is not what the encoding `loop` can say."""
    if (given.program, given.style, given.nbytes) != ("ring", "send", 1):
        raise ValueError("--encoding loop is for the ring of style send and 1 byte; take --encoding straight")
    given.made()  # sizes and names
