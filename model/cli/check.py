"""`python -m model check`: does a program finish, and if not, who waits for whom?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model.cli.given import Given
from model.cli.output import advance, bar, show
from model.rings.orderings import ordering
from model.semantics.libraries import semantics
from model.semantics.parameters import Semantics
from model.states.options import MAX_MEMORY, Options, Reduce
from model.synthesis.cure import propose
from model.verdict import tables
from model.verdict.decide import MAX_STATES, check
from model.verdict.result import Engine, Result

LISTS = 1000
"""Ring steps up to which the graph engine is given the lists of operations, and so can name every stuck rank."""

CURED = 1000
"""Operations up to which a program that hangs is offered a cure: each candidate is checked, which takes its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(Given):
    """Decide one program: 0 if it finishes, 1 if it can hang or lose a message, 2 on bad usage."""

    engine: Engine = "explorer"
    """Explore every state; or, of a program without wildcards, run the one schedule that decides, or solve its event
    graph, which takes a ring of a million ranks."""
    reduce: Reduce = "none"
    """What the explorer leaves out: nothing, steps that do not matter (persistent), or turned states (rotation)."""
    max_states: int = MAX_STATES
    """Give up past so many states."""
    max_memory: int = MAX_MEMORY
    """Bytes that the explorer's frontiers may take."""
    checkpoint: Path | None = None
    """Where an interrupt (Ctrl-C) leaves the explorer's state."""
    resume: Path | None = None
    """Go on from such a file; another interrupt writes it again, unless --checkpoint names another."""
    json: bool = False
    """Print one JSON object."""
    draw: Path | None = None
    """Draw who waits for whom to this file (.png, .svg, .pdf)."""

    def run(self) -> int:
        for name in ("max_states", "max_memory"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give 1 or more")
        rules = semantics(self.semantics)
        if self.draw is not None:
            from model.verdict import draw  # matplotlib is slow to import

            draw.check_path(self.draw)  # before a search that may take minutes, not after it
        given = () if self._large() else self.made()
        with bar("states") as shown:
            if not given:
                result = self._at_scale(rules)
            else:
                result = check(
                    given,
                    rules,
                    engine=self.engine,
                    max_states=self.max_states,
                    progress=lambda seen: advance(shown, seen, least=1000),
                    explore=Options(
                        reduce=self.reduce,
                        max_memory=self.max_memory,
                        checkpoint=self.checkpoint or self.resume,
                        resume=self.resume,
                    ),
                )
        if self.draw is not None:
            ranks = len(given) or self.ranks
            title = f"{result.verdict}: {self.program}, {ranks} ranks, under {self.semantics}"
            draw.save(draw.wait_for_graph(result, ranks=ranks, title=title), self.draw)
        cure = propose(given, rules, result) if result.hangs and 0 < sum(map(len, given)) <= CURED else None
        data = {**result.to_json(), "cure": None if cure is None else cure.to_json()}
        show(self.json, data, lambda: tables.verdict_lines(result, cure))
        return 0 if result.verdict == "ok" else 1

    def _large(self) -> bool:
        """Whether the ring is to be a table and not lists of operations."""
        return (self.engine, self.program, self.style) == ("graph", "ring", "send") and self.ranks * self.rounds > LISTS

    def _at_scale(self, rules: Semantics) -> Result:
        from model.semantics.table import ring_table
        from model.verdict.by_graph import check_table  # numba is slow to import

        policy = ordering(self.ordering, self.ranks)
        return check_table(ring_table(ranks=self.ranks, rounds=self.rounds, ordering=policy, nbytes=self.nbytes), rules)
