"""SPIN as an outside judge of the model: verdicts and numbers of states of rings, and the known counts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model.rings.orderings import NAMED, ordering
from model.rings.ring_program import ring
from model.semantics.libraries import semantics

if TYPE_CHECKING:
    from model.validation.spin import Comparison

NAME = "spin"

MOST_STATES = 200_000_000

KNOWN = {4: 886, 5: 3_615, 7: 67_271, 9: 1_338_391}
"""States by number of ranks, counted before this model existed: encoding `loop`, parity, rendezvous, 3 rounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Verdicts and numbers of states of SPIN beside the model's, in both encodings; needs spin and cc."""

    ranks: tuple[int, ...] = tuple(range(2, 9))
    rounds: tuple[int, ...] = (1, 2, 3)
    semantics: tuple[str, ...] = ("rendezvous", "bounded(1)", "eager")
    known: tuple[int, ...] = tuple(KNOWN)
    """Ranks of the known counts to reproduce."""
    jobs: int = 2
    """Verifiers at a time."""
    limit_s: float = 300.0
    """Seconds that a verifier may run."""


SMOKE = Config(ranks=(2, 3), rounds=(1, 2), known=(4, 5))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One program in one encoding."""

    encoding: str
    ordering: str
    semantics: str
    ranks: int
    rounds: int

    def comparison(self, limit_s: float) -> Comparison:
        """SPIN and the model on it."""
        from model.validation.spin import compare
        from model.validation.spin_ring import compare_loop

        policy, rules = ordering(self.ordering, self.ranks), semantics(self.semantics)
        if self.encoding == "straight":
            made = ring(ranks=self.ranks, rounds=self.rounds, ordering=policy)
            return compare(made, rules, limit_s=limit_s, max_states=MOST_STATES)
        return compare_loop(
            ranks=self.ranks,
            rounds=self.rounds,
            ordering=policy,
            semantics=rules,
            limit_s=limit_s,
            max_states=MOST_STATES,
        )


def run(config: Config) -> dict[str, Any]:
    """`spin`: its version. `rows`: each case, with both verdicts and counts; `total` and `agree`: how many.

    `known`: the counts to reproduce, by number of ranks.
    """
    from concurrent.futures import ThreadPoolExecutor

    from tqdm import tqdm

    from model.validation.spin import version

    if config.jobs < 1:
        raise ValueError(f"jobs is {config.jobs}; give 1 or more")
    if unknown := set(config.known) - set(KNOWN):
        raise ValueError(f"no known count for {sorted(unknown)} ranks; choose from {', '.join(map(str, KNOWN))}")
    spin_version = version()
    rows = []
    with ThreadPoolExecutor(config.jobs) as pool:
        pending = [(case, pool.submit(case.comparison, config.limit_s)) for case in cases(config)]
        try:
            for case, future in tqdm(pending, desc=NAME, unit="program"):
                rows.append(_row(case, future.result()))
        finally:
            pool.shutdown(cancel_futures=True)
    return {
        "spin": spin_version,
        "total": len(rows),
        "agree": sum(row["agree"] for row in rows),
        "known": {
            str(row["ranks"]): {"expected": KNOWN[row["ranks"]], "spin": row["spin_states"], "model": row["states"]}
            for row in rows
            if row["encoding"] == "loop" and row["ordering"] == "parity"
        },
        "rows": rows,
    }


def cases(config: Config) -> Iterator[Case]:
    """Every named ordering under every semantics in `straight`; in `loop` the known counts, and one that deadlocks."""
    for ranks, rounds, name, promise in itertools.product(config.ranks, config.rounds, NAMED, config.semantics):
        yield Case(encoding="straight", ordering=name, semantics=promise, ranks=ranks, rounds=rounds)
    for ranks in config.known:
        yield Case(encoding="loop", ordering="parity", semantics="rendezvous", ranks=ranks, rounds=3)
    yield Case(encoding="loop", ordering="send-first", semantics="rendezvous", ranks=4, rounds=3)


def _row(case: Case, comparison: Comparison) -> dict[str, Any]:
    return {
        "encoding": case.encoding,
        "ordering": case.ordering,
        "semantics": case.semantics,
        "ranks": case.ranks,
        "rounds": case.rounds,
        "agree": comparison.agree,
        "verdict": comparison.verdict,
        "spin_verdict": comparison.spin.verdict,
        "states": comparison.states,
        "spin_states": comparison.spin.states,
        "transitions": comparison.transitions,
        "spin_transitions": comparison.spin.transitions,
    }
