"""What benchmarks of serving on accelerators share: their setting, and rows measured in processes of their own.

A row that fails says so, and the others go on.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from experiments.records.fresh_process import run_in_fresh_process

if TYPE_CHECKING:
    from experiments.serving.prediction import Prediction, Times

LABEL = "gpu"
"""Of the result files: the kind of hardware."""

ENOUGH_S = 20.0
"""A row is not begun with less time left than this."""

Do = Callable[[str, Mapping[str, Any]], dict[str, Any]]
"""Runs a function of `serving.workloads` in a fresh process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is served."""

    model: str = "llama-3.1-8b"
    """A shape by name; the weights are random."""
    device: str = "auto"
    dtype: str = "bfloat16"
    """Both as for `python -m reference bench`."""
    batch: int = 8
    """Requests of a case, and in a microbatch."""
    input_len: int = 1024
    output_len: int = 128
    repeats: int = 5
    """Counted runs of the engine."""
    stage_repeats: int = 5
    """Counted prefills of a stage alone, and pings; decode steps are ten times as many."""
    seed: int = 0
    limit_s: float = 570.0
    """Seconds for all rows together; those that do not fit are left out, and the result says so."""

    def check(self, names: tuple[str, ...]) -> None:
        """Raises ValueError where a size of those named is below 1, or there are no decode steps to time."""
        for name in ("batch", "repeats", "stage_repeats", "input_len", *names):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give 1 or more")
        if self.output_len < 8:
            raise ValueError(f"output_len is {self.output_len}; give 8 or more, so that there are decode steps to time")

    def common(self) -> dict[str, Any]:
        """What every function of `serving.workloads` is told."""
        names = ("model", "device", "dtype", "input_len", "output_len", "seed")
        return {name: getattr(self, name) for name in names}

    def engine(self, do: Do, *, requests: int, pp: int = 1, trace: bool = False, **how: Any) -> dict[str, Any]:
        """Runs an engine with so many requests at once. how: more of `serving.workloads.engine`'s arguments."""
        work = "traced_engine" if trace else "engine"
        sizes = {"max_batch": self.batch, "requests": requests, "repeats": self.repeats, "pp": pp}
        return {"requests": requests, "pp": pp, **do(work, {**self.common(), **sizes, **how})}

    def stage(self, do: Do, *, pp: int, number: int, batch: int, prefills: bool = True) -> dict[str, Any]:
        """Times a stage alone."""
        given = {"pp": pp, "number": number, "batch": batch}
        counts = {"prefills": self.stage_repeats if prefills else 0, "decodes": 10 * self.stage_repeats}
        return do("stage", {**self.common(), **given, **counts})

    def with_prediction(self, do: Do, run: Mapping[str, Any], *, transport: str) -> tuple[dict[str, Any], Prediction]:
        """Of an engine's run with every slot full: its stages and hops, measured apart, and the event graph's word."""
        from experiments.serving.prediction import predict
        from reference.llama.config import SHAPES
        from reference.transport.shared_memory import RING_SEMANTICS

        stages = [self.stage(do, pp=run["pp"], number=number, batch=self.batch) for number in range(run["pp"])]
        hidden = SHAPES[self.model].hidden
        shapes = [(self.batch, self.input_len, hidden), (self.batch, 1, hidden)]
        given = {"device": self.device, "dtype": self.dtype, "shapes": shapes, "answers": self.batch}
        ways = {"transport": transport, "rings": run["control"] == RING_SEMANTICS}
        hops = do("hops", {**given, **ways, "repeats": 10 * self.stage_repeats})["hops"]
        prediction = predict(
            times_of(stages, hops),
            steps=self.output_len,
            policy=run["ordering"],
            data=run["semantics"],
            control=run["control"],
        )
        return {"stages": stages, "hops": hops, "prediction": asdict(prediction)}, prediction


def measured(
    rows: Mapping[str, Callable[[Do], dict[str, Any]]],
    *,
    name: str,
    limit_s: float,
    said: Callable[[Mapping[str, Any]], str],
) -> list[dict[str, Any]]:
    """What every row found, or `failed` and why; `said` makes a line of it for people who wait.

    Raises ValueError where every row failed.
    """
    from tqdm import tqdm

    deadline = time.monotonic() + limit_s

    def do(work: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        left = deadline - time.monotonic()
        if left < ENOUGH_S:
            raise ValueError(f"no time was left within limit_s ({limit_s:.0f} s); raise it, or ask for fewer rows")
        return run_in_fresh_process(f"experiments.serving.workloads:{work}", arguments, limit_s=left)

    found: list[dict[str, Any]] = []
    with tqdm(total=len(rows), desc=name, unit="row") as bar:
        for row, measure in rows.items():
            try:
                found.append({"name": row, **measure(do)})
            except ValueError as error:
                found.append({"name": row, "failed": str(error)})
            tqdm.write(f"{row}: {said(found[-1])}", file=sys.stderr)
            bar.update()
    if all("failed" in row for row in found):
        raise ValueError(f"every row failed; the first: {found[0]['failed']}")
    return found


def latencies(row: Mapping[str, Any]) -> list[float]:
    """Of every run of a row, in seconds, from the requests to the last token."""
    return [sample["latency"] for sample in row["samples"]]


def whole_rates(row: Mapping[str, Any], output_len: int) -> list[float]:
    """Output tokens per second over the whole run, prefill included, of every run of a row."""
    return [row["requests"] * output_len / latency for latency in latencies(row)]


def times_of(stages: list[dict[str, Any]], hops: list[dict[str, Any]]) -> Times:
    """Medians of what was measured apart."""
    from experiments.serving.prediction import Hop, Times

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


def said(row: Mapping[str, Any]) -> str:
    """One line on a row, for people who wait."""
    if "failed" in row:
        return f"FAILED: {row['failed']}"
    line = f"latency {', '.join(f'{latency:.3f}' for latency in latencies(row))} s"
    return f"{line}. {row['explained']}" if "explained" in row else line
