"""Serving on one accelerator, random weights of an 8B shape: our engine, its peer, the pipeline on one card, and why.

Every measurement is a process of its own (`serving_rows`). A row that fails says so in the result, and the others go
on: a lent machine may be gone tomorrow.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

from tqdm import tqdm

from experiments.alone import alone
from experiments.serving_prediction import Hop, Times, explained, predict

NAME = "serving-gpu"

LABEL = "gpu"
"""Of its result file: the kind of hardware."""

ENOUGH_S = 20.0
"""A row is not begun with less time left than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Serving speed on one accelerator: PP=1, transformers, PP=4 on the same card and its prediction, the scheduler."""

    rows: tuple[str, ...] = ("pp1", "peer", "pp4", "pp4-32", "scheduler")
    """Which to measure: pp1 (the engine), peer (transformers, static cache), pp4 (all stages on one card), pp4-32
    (every microbatch full, beside the event graph's prediction), scheduler (its own time beside a decode step)."""
    model: str = "llama-3.1-8b"
    """A shape by name; the weights are random."""
    device: str = "auto"
    dtype: str = "bfloat16"
    """Both as for `python -m reference bench`."""
    batch: int = 8
    """Requests of a case, and in a microbatch."""
    input_len: int = 1024
    output_len: int = 128
    pp: int = 4
    """Stages of pp4 and pp4-32, each a process on the same device."""
    transport: Literal["host", "shared"] = "shared"
    """How their tensors travel through the host, as for `python -m reference bench`."""
    in_flight: int = 64
    """Requests of the scheduler's row."""
    repeats: int = 5
    """Counted runs of the engine."""
    peer_repeats: int = 3
    """Counted runs of transformers."""
    stage_repeats: int = 5
    """Counted prefills of a stage alone, and pings; decode steps are ten times as many."""
    seed: int = 0
    limit_s: float = 570.0
    """Seconds for all rows together; those that do not fit are left out, and the result says so."""


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

Do = Callable[[str, Mapping[str, Any]], dict[str, Any]]
"""Runs a function of `serving_rows` in a fresh process."""


def run(config: Config) -> dict[str, Any]:
    """`rows`: each with its raw samples, or `failed` and why.

    Raises ValueError on what cannot be asked for, and where every row failed.
    """
    unknown = [name for name in config.rows if name not in ROWS]
    if unknown or not config.rows:
        raise ValueError(f"unknown rows {', '.join(unknown) or '(none)'}; choose from {', '.join(ROWS)}")
    for name in ("batch", "in_flight", "repeats", "peer_repeats", "stage_repeats", "input_len"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name} is {getattr(config, name)}; give 1 or more")
    if config.output_len < 8:
        raise ValueError(f"output_len is {config.output_len}; give 8 or more, so that there are decode steps to time")
    if config.pp < 2:
        raise ValueError(f"pp is {config.pp}; give 2 or more")
    deadline = time.monotonic() + config.limit_s
    rows = []
    with tqdm(total=len(config.rows), desc=NAME, unit="row") as bar:
        for name in config.rows:
            found = _attempt(name, config, deadline)
            rows.append(found)
            tqdm.write(f"{name}: {said(found)}", file=sys.stderr)
            bar.update()
    if all("failed" in row for row in rows):
        raise ValueError(f"every row failed; the first: {rows[0]['failed']}")
    return {"rows": rows}


def _attempt(name: str, config: Config, deadline: float) -> dict[str, Any]:
    def do(work: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        left = deadline - time.monotonic()
        if left < ENOUGH_S:
            raise ValueError(
                f"no time was left within limit_s ({config.limit_s:.0f} s); raise it, or ask for fewer rows"
            )
        return alone(f"experiments.serving_rows:{work}", arguments, limit_s=left)

    try:
        return {"name": name, **ROWS[name](config, do)}
    except ValueError as error:
        return {"name": name, "failed": str(error)}


def _common(config: Config) -> dict[str, Any]:
    names = ("model", "device", "dtype", "input_len", "output_len", "seed")
    return {name: getattr(config, name) for name in names}


def _engine(config: Config, do: Do, *, pp: int, requests: int) -> dict[str, Any]:
    transport = config.transport if pp > 1 else "auto"
    sizes = {"max_batch": config.batch, "requests": requests, "repeats": config.repeats}
    given = {"pp": pp, "transport": transport, **sizes}
    return {"requests": requests, "pp": pp, **do("engine", {**_common(config), **given})}


def _pp1(config: Config, do: Do) -> dict[str, Any]:
    return _engine(config, do, pp=1, requests=config.batch)


def _pp4(config: Config, do: Do) -> dict[str, Any]:
    return _engine(config, do, pp=config.pp, requests=config.batch)


def _peer(config: Config, do: Do) -> dict[str, Any]:
    given = {"batch": config.batch, "repeats": config.peer_repeats}
    return {"requests": config.batch, **do("peer", {**_common(config), **given})}


def _pipeline(config: Config, do: Do) -> dict[str, Any]:
    """Every slot full, then each stage alone, then the hops, then what the event graph makes of these."""
    found = _engine(config, do, pp=config.pp, requests=config.pp * config.batch)
    stages = [_stage(config, do, number=number) for number in range(config.pp)]
    hidden = _hidden(config.model)
    shapes = [(config.batch, config.input_len, hidden), (config.batch, 1, hidden)]
    given = {"device": config.device, "dtype": config.dtype, "shapes": shapes, "answers": config.batch}
    hops = do("hops", {**given, "transport": config.transport, "repeats": 10 * config.stage_repeats})["hops"]
    prediction = predict(
        times_of(stages, hops),
        steps=config.output_len,
        policy=found["ordering"],
        data=found["semantics"],
        control=found["control"],
    )
    return {
        **found,
        "stages": stages,
        "hops": hops,
        "prediction": asdict(prediction),
        "explained": explained(median(latencies(found)), prediction),
    }


def _stage(config: Config, do: Do, *, number: int) -> dict[str, Any]:
    given = {"pp": config.pp, "number": number, "batch": config.batch}
    counts = {"prefills": config.stage_repeats, "decodes": 10 * config.stage_repeats}
    return do("stage", {**_common(config), **given, **counts})


def _scheduler(config: Config, do: Do) -> dict[str, Any]:
    """Its own time, and decode steps of the whole model in one stage: of the usual batch, and of all in flight."""
    lengths = {"input_len": config.input_len, "output_len": config.output_len}
    own = do("scheduler", {"in_flight": config.in_flight, "vocabulary": 256, **lengths})
    steps = [
        do(
            "stage",
            {
                **_common(config),
                "pp": 1,
                "number": 0,
                "batch": batch,
                "prefills": 0,
                "decodes": 10 * config.stage_repeats,
            },
        )
        for batch in (config.batch, config.in_flight)
    ]
    return {**own, "steps": steps}


ROWS: Mapping[str, Callable[[Config, Do], dict[str, Any]]] = {
    "pp1": _pp1,
    "peer": _peer,
    "pp4": _pp4,
    "pp4-32": _pipeline,
    "scheduler": _scheduler,
}


def _hidden(model: str) -> int:
    from reference.llama_config import SHAPES

    return SHAPES[model].hidden


def latencies(row: Mapping[str, Any]) -> list[float]:
    """Of every run of a row, in seconds, from the requests to the last token."""
    return [sample["latency"] for sample in row["samples"]]


def whole_rates(row: Mapping[str, Any], output_len: int) -> list[float]:
    """Output tokens per second over the whole run, prefill included, of every run of a row."""
    return [row["requests"] * output_len / latency for latency in latencies(row)]


def times_of(stages: list[dict[str, Any]], hops: list[dict[str, Any]]) -> Times:
    """Medians of what was measured apart."""
    prefill_hop, decode_hop, output_hop, requests_hop = (
        Hop(nbytes=hop["nbytes"], seconds=median(hop["seconds"])) for hop in hops
    )
    return Times(
        prefill=tuple(median(stage["prefill_s"]) for stage in stages),
        decode=tuple(median(stage["decode_s"]) for stage in stages),
        prefill_hop=prefill_hop,
        decode_hop=decode_hop,
        output_hop=output_hop,
        requests_hop=requests_hop,
    )


def scheduler_share(row: Mapping[str, Any]) -> float:
    """The scheduler's time per iteration as a fraction of the shortest measured decode step."""
    own: float = median(row["iterations_s"])
    return own / min(median(step["decode_s"]) for step in row["steps"])


def said(row: Mapping[str, Any]) -> str:
    """One line on a row, for people who wait."""
    if "failed" in row:
        return f"FAILED: {row['failed']}"
    if "iterations_s" in row:
        own = median(row["iterations_s"])
        return f"{own * 1e6:.0f} us per iteration, {scheduler_share(row):.2%} of a decode step"
    line = f"latency {', '.join(f'{latency:.3f}' for latency in latencies(row))} s"
    return f"{line}. {row['explained']}" if "explained" in row else line
