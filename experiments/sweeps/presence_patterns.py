"""When does the serving loop hang? Patterns of idle and busy iterations, in the model (statement 8)."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from typing import Any

from model.pipelines.serving import CONTROL, DATA, unroll
from model.rings.orderings import NAMED, ordering
from model.semantics.libraries import semantics

NAME = "patterns"

ISENDS = {"blocking": "rendezvous", "asynchronous": "gloo"}
"""What carries hidden states and outputs; the requests are asynchronous in both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Verdicts on the serving loop: which patterns of iterations with a batch deadlock, under which isend."""

    ranks: tuple[int, ...] = (2, 3, 4, 5, 6, 7, 8)
    depths: tuple[int, ...] = (0, 1, 2)
    """Async batch depths."""
    orderings: tuple[str, ...] = tuple(NAMED)
    extra: int = 3
    """A pattern is so many iterations longer than there are ranks."""
    every: int = 4
    """Up to so many ranks every pattern is tried, beyond a sample."""
    sample: int = 40
    """Random patterns for each point beyond, besides the one in which every iteration carries a batch."""
    seed: int = 0
    jobs: int = 2
    """Processes at a time."""


SMOKE = Config(ranks=(2, 3), depths=(0, 1), jobs=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One P, depth, ordering and isend, and the patterns to try, `1` for an iteration with a batch."""

    ranks: int
    depth: int
    ordering: str
    isend: str
    iterations: int
    patterns: tuple[str, ...]

    def tried(self) -> dict[str, Any]:
        """What is stored: `tried` is `every`, or the patterns of a sample; `deadlocked` those that deadlock."""
        return {
            "ranks": self.ranks,
            "depth": self.depth,
            "ordering": self.ordering,
            "isend": self.isend,
            "iterations": self.iterations,
            "tried": "every" if len(self.patterns) == 2**self.iterations else list(self.patterns),
            "deadlocked": [pattern for pattern in self.patterns if self._hangs(pattern)],
        }

    def _hangs(self, pattern: str) -> bool:
        from model.events.earliest_run import run  # numba is slow to import
        from model.semantics.columns import columns_of
        from model.semantics.lowering import lower

        semantics_by_comm = {CONTROL: semantics("gloo"), DATA: semantics(ISENDS[self.isend])}
        policy = ordering(self.ordering, self.ranks)
        program = unroll(ranks=self.ranks, depth=self.depth, ordering=policy, present=[bit == "1" for bit in pattern])
        return run(columns_of(lower(program, semantics_by_comm))).hangs


def run(config: Config) -> dict[str, Any]:
    """`points`: what each was, and the patterns that deadlock, by the event graph."""
    from tqdm import tqdm

    points = plan(config)
    with get_context("spawn").Pool(config.jobs) as pool:  # ended with the block, also by an interrupt
        done = tqdm(pool.imap(Point.tried, points), total=len(points), desc=NAME, unit="point", delay=1)
        return {"points": list(done)}


def plan(config: Config) -> list[Point]:
    """The points of a run; ValueError on what is no ordering, or on counts below 1."""
    for name in ("jobs", "sample"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name} is {getattr(config, name)}; give 1 or more")
    for ranks, name in product(config.ranks, config.orderings):
        ordering(name, ranks)
    points = []
    for ranks in config.ranks:
        iterations = ranks + config.extra
        chosen = tuple(every_pattern(iterations)) if ranks <= config.every else _sample(config, iterations)
        points += [
            Point(ranks=ranks, depth=depth, ordering=name, isend=isend, iterations=iterations, patterns=chosen)
            for depth, name, isend in product(config.depths, config.orderings, ISENDS)
        ]
    return points


def _sample(config: Config, iterations: int) -> tuple[str, ...]:
    """Random patterns, most of them busy, as only those may deadlock; and the one that is all busy."""
    rng = random.Random(f"{config.seed} {iterations}")
    drawn = {"1" * iterations}
    while len(drawn) < min(config.sample + 1, 2**iterations):
        busy = rng.choice((0.5, 0.8, 0.95))
        drawn.add("".join("1" if rng.random() < busy else "0" for _ in range(iterations)))
    return tuple(sorted(drawn))


def every_pattern(iterations: int) -> list[str]:
    """Every pattern of idle and busy iterations."""
    return ["".join(bits) for bits in product("01", repeat=iterations)]


def tried(point: Mapping[str, Any]) -> list[str]:
    """The patterns of a stored point."""
    return every_pattern(point["iterations"]) if point["tried"] == "every" else list(point["tried"])


def deadlocks_iff_full(point: Mapping[str, Any]) -> bool:
    """Whether exactly those patterns deadlock in which P consecutive iterations carry a batch."""
    full = [pattern for pattern in tried(point) if "1" * point["ranks"] in pattern]
    return bool(full) and bool(point["deadlocked"] == full)


def as_stated(points: Iterable[Mapping[str, Any]]) -> bool:
    """Whether statement 8 holds at every point: the uniform orderings deadlock iff full, the others never.

    Send-first is uniform in this sense under a blocking isend only; receive-first under both.
    """
    return all(
        deadlocks_iff_full(point)
        if point["ordering"] == "receive-first" or (point["ordering"], point["isend"]) == ("send-first", "blocking")
        else not point["deadlocked"]
        for point in points
    )
