"""How fast the engines of the model are: each row a target of its own, each run a process of its own.

A row is a function that does the work once and gives what it found; `ROWS` is the registry. The seconds are the
process's own, the import of the engine among them. Compiled code is cached
on disk, and a first run that compiles is not counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.records.fresh_process import run_in_fresh_process

NAME = "bench-model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table.

    work: `module:function`, called with the keywords of `full` or `smoke`; what it returns is stored, and numbers
        that it measured itself, such as `events_per_s`, are among it.
    reach: what to reach, in words. limits: the most of a measured quantity, or with a minus sign the least.
    """

    name: str
    about: str
    work: str
    full: Mapping[str, Any]
    smoke: Mapping[str, Any]
    reach: str
    limits: Mapping[str, float]


ROWS: Mapping[str, Row] = {
    row.name: row
    for row in (
        Row(
            name="event-graph",
            about="event graph: a ring of 1,000,000 ranks, one round, build + verdict + makespan",
            work="experiments.cross_checks.engine_speed_workloads:event_graph",
            full={"ranks": 1_000_000},
            smoke={"ranks": 1_000},
            reach="under 10 s, under 4 GiB",
            limits={"seconds": 10.0, "peak_gib": 4.0},
        ),
        Row(
            name="order-space",
            about="order space: all 2^24 orderings, verdict + makespan + period",
            work="experiments.cross_checks.engine_speed_workloads:order_space",
            full={"ranks": 24},
            smoke={"ranks": 12},
            reach="under 20 s",
            limits={"seconds": 20.0},
        ),
        Row(
            name="explorer",
            about="explorer without reductions: P = 9, 3 rounds, parity, rendezvous, beside SPIN in the same run",
            work="experiments.cross_checks.engine_speed_workloads:explorer",
            full={"ranks": 9, "rounds": 3},
            smoke={"ranks": 4, "rounds": 3},
            reach="states per second at least SPIN's own",
            limits={"times_spin": -1.0},
        ),
        Row(
            name="simulator",
            about="simulator: a ring of 1,000 ranks by parity, 200 rounds, beside simpy on the same ring",
            work="experiments.cross_checks.engine_speed_workloads:simulator",
            full={"ranks": 1_000, "rounds": 200},
            smoke={"ranks": 10, "rounds": 10},
            reach="at least 1,000,000 events/s and 10 times simpy",
            limits={"events_per_s": -1_000_000.0, "times_simpy": -10.0},
        ),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Benchmarks of the model's engines, each in a process of its own."""

    rows: tuple[str, ...] = tuple(ROWS)
    """Which to run."""
    repeats: int = 3
    """Counted runs of each."""
    small: bool = False
    """The smallest sizes; targets are not judged."""


SMOKE = Config(repeats=1, small=True)


def run(config: Config) -> dict[str, Any]:
    """`rows`: for each its target, every counted run, and whether the slowest of them reaches the target."""
    from tqdm import tqdm

    unknown = [name for name in config.rows if name not in ROWS]
    if unknown or not config.rows:
        raise ValueError(f"unknown rows {', '.join(unknown) or '(none)'}; choose from {', '.join(ROWS)}")
    if config.repeats < 1:
        raise ValueError(f"repeats is {config.repeats}; give 1 or more")
    found = []
    with tqdm(total=len(config.rows) * (config.repeats + 1), desc=NAME, unit="run") as bar:
        for row in (ROWS[name] for name in config.rows):
            samples = []
            for number in range(config.repeats + 1):  # the first compiles
                sample = once(row, small=config.small)
                samples += [sample] if number else []
                bar.update()
            found.append(
                {
                    "name": row.name,
                    "about": row.about,
                    "reach": row.reach,
                    "arguments": dict(row.smoke if config.small else row.full),
                    "reached": None if config.small else reached(row, samples),
                    "samples": samples,
                }
            )
    return {"rows": found}


def reached(row: Row, samples: list[dict[str, Any]]) -> bool:
    """Whether every sample is within every limit."""
    return all(
        sample[name] >= -limit if limit < 0 else sample[name] <= limit
        for sample in samples
        for name, limit in row.limits.items()
    )


def once(row: Row, *, small: bool) -> dict[str, Any]:
    """One run in a fresh process. Raises ValueError where it fails."""
    return run_in_fresh_process(row.work, row.smoke if small else row.full)
