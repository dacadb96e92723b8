"""Serving on one accelerator, random weights of an 8B shape: the engine, transformers, the pipeline on one card.

Every measurement is a process of its own (`serving.workloads`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from statistics import median
from typing import Any, Literal

from experiments.serving import settings
from experiments.serving.settings import Do, Setting, latencies, measured

NAME = "serving-gpu"

TURNS = 2
"""Starts of the engine with a trace, and of that without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Setting):
    """Serving speed on one accelerator: PP=1, transformers, PP=4 on the same card and its prediction, the scheduler."""

    rows: tuple[str, ...] = ("pp1", "pp1-recorded", "peer", "pp4", "pp4-recorded", "pp4-32", "scheduler")
    """Which to measure: pp1 (the engine), peer (transformers, static cache), pp4 (all stages on one card), either by
    turns with an engine whose ranks write a trace, pp4-32 (every microbatch full, beside the event graph's
    prediction), scheduler (its own time beside a decode step)."""
    pp: int = 4
    """Stages of pp4 and pp4-32, each a process on the same device."""
    transport: Literal["host", "shared"] = "shared"
    """How their tensors travel through the host, as for `python -m reference bench`."""
    in_flight: int = 64
    """Requests of the scheduler's row."""
    peer_repeats: int = 3
    """Counted runs of transformers."""


SMOKE = Config(
    model="tiny",
    dtype="float32",
    batch=2,
    input_len=12,
    output_len=8,
    pp=2,
    in_flight=8,
    repeats=2,
    peer_repeats=1,
    stage_repeats=2,
)


def run(config: Config) -> dict[str, Any]:
    """`rows`: each with its raw samples, or `failed` and why.

    Raises ValueError on what cannot be asked for, and where every row failed.
    """
    unknown = [name for name in config.rows if name not in ROWS]
    if unknown or not config.rows:
        raise ValueError(f"unknown rows {', '.join(unknown) or '(none)'}; choose from {', '.join(ROWS)}")
    config.check(("in_flight", "peer_repeats"))
    if config.pp < 2:
        raise ValueError(f"pp is {config.pp}; give 2 or more")
    rows = {name: partial(ROWS[name], config) for name in config.rows}
    return {"rows": measured(rows, name=NAME, limit_s=config.limit_s, said=said)}


def _pp1(config: Config, do: Do, *, trace: bool = False) -> dict[str, Any]:
    return config.engine(do, requests=config.batch, transport="auto", trace=trace)


def _pp4(config: Config, do: Do, *, trace: bool = False) -> dict[str, Any]:
    return config.engine(do, requests=config.batch, pp=config.pp, transport=config.transport, trace=trace)


def _traced(config: Config, do: Do, *, of: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """The row `of` with a trace. `beside`: without one, interleaved, as two starts of one engine differ by more than a
    trace costs. `conformance`: of a start, and of one that the model does not allow where there is such."""
    turns = [(of(config, do), of(config, do, trace=True)) for _ in range(TURNS)]
    without, traced = (
        {**side[0], "samples": [sample for run in side for sample in run["samples"]]}
        for side in zip(*turns, strict=True)
    )
    conformance = min((run["conformance"] for _, run in turns), key=itemgetter("allowed"))
    return {**traced, "conformance": conformance, "beside": without}


def _transformers(config: Config, do: Do) -> dict[str, Any]:
    given = {"batch": config.batch, "repeats": config.peer_repeats}
    return {"requests": config.batch, **do("transformers_generate", {**config.common(), **given})}


def _pipeline(config: Config, do: Do) -> dict[str, Any]:
    """Every slot full, then each stage alone, then the hops, then what the event graph makes of these."""
    from experiments.serving.prediction import explained

    found = config.engine(do, requests=config.pp * config.batch, pp=config.pp, transport=config.transport)
    apart, prediction = config.with_prediction(do, found, transport=config.transport)
    return {**found, **apart, "explained": explained(median(latencies(found)), prediction)}


def _scheduler(config: Config, do: Do) -> dict[str, Any]:
    """Its own time, and decode steps of the whole model in one stage: of the usual batch, and of all in flight."""
    lengths = {"input_len": config.input_len, "output_len": config.output_len}
    own = do("scheduler", {"in_flight": config.in_flight, "vocabulary": 256, **lengths})
    steps = [
        config.stage(do, pp=1, number=0, batch=batch, prefills=False) for batch in (config.batch, config.in_flight)
    ]
    return {**own, "steps": steps}


ROWS: Mapping[str, Callable[[Config, Do], dict[str, Any]]] = {
    "pp1": _pp1,
    "pp1-recorded": partial(_traced, of=_pp1),
    "peer": _transformers,
    "pp4": _pp4,
    "pp4-recorded": partial(_traced, of=_pp4),
    "pp4-32": _pipeline,
    "scheduler": _scheduler,
}


def scheduler_share(row: Mapping[str, Any]) -> float:
    """The scheduler's time per iteration as a fraction of the shortest measured decode step."""
    own: float = median(row["iterations_s"])
    return own / min(median(step["decode_s"]) for step in row["steps"])


def said(row: Mapping[str, Any]) -> str:
    """One line on a row, for people who wait."""
    if "iterations_s" in row:
        own = median(row["iterations_s"])
        return f"{own * 1e6:.0f} us per iteration, {scheduler_share(row):.2%} of a decode step"
    return settings.said(row)
