"""Serving on a CPU beside transformers: the same weights, the same prompts, the same threads, interleaved runs.

Each batch size is a process of its own; in it the engine, whose one rank is another process, and transformers take
turns, so that a slow minute of the machine meets both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from experiments.records.fresh_process import run_in_fresh_process

NAME = "serving-cpu"

OURS, THEIRS = "engine", "transformers"

LIMIT_S = 3600.0
"""Of one batch size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Serving speed on a CPU: prefill and decode of the engine at PP=1 beside transformers' own generate."""

    model: str = "smollm2"
    load: Literal["checkpoint", "random"] = "checkpoint"
    """Both as for `python -m reference generate`."""
    batch: tuple[int, ...] = (1, 8)
    """Prompts of one run."""
    input_len: int = 512
    output_len: int = 65
    """New tokens: the first ends the prefill, the others are decode steps."""
    threads: int = 2
    """Threads of either."""
    repeats: int = 5
    """Counted runs of each, after one that does not count."""
    seed: int = 0


SMOKE = Config(model="tiny", load="random", batch=(1, 2), input_len=8, output_len=4, threads=1, repeats=2)


def run(config: Config) -> dict[str, Any]:
    """`runs`: of each batch size, number and side, by prompt the tokens and when each of them came, in seconds."""
    from tqdm import tqdm

    for name, least in (("input_len", 1), ("output_len", 2), ("threads", 1), ("repeats", 1)):
        if getattr(config, name) < least:
            raise ValueError(f"{name} is {getattr(config, name)}; give {least} or more")
    runs = []
    for batch in tqdm(config.batch, desc=NAME, unit="batch size"):
        arguments = {
            "model": config.model,
            "load": config.load,
            "batch": batch,
            "input_len": config.input_len,
            "output_len": config.output_len,
            "threads": config.threads,
            "repeats": config.repeats,
            "seed": config.seed,
        }
        runs += run_in_fresh_process("experiments.serving.cpu:interleaved", arguments, limit_s=LIMIT_S)["runs"]
    return {"runs": runs}


def interleaved(
    *,
    model: str,
    load: Literal["checkpoint", "random"],
    batch: int,
    input_len: int,
    output_len: int,
    threads: int,
    repeats: int,
    seed: int,
) -> dict[str, Any]:
    """One batch size; what the fresh process does."""
    from random import Random

    import torch

    from experiments.serving import transformers_baseline
    from experiments.serving.pipeline import collect
    from reference.checkpoint.loader import resolve_checkpoint
    from reference.config import EngineConfig
    from reference.device import HOST
    from reference.engine.engine import Engine

    torch.set_num_threads(threads)
    source = resolve_checkpoint(model, load, seed)
    built = transformers_baseline.build_with(source)
    random, runs = Random(seed), []
    settings = EngineConfig(
        model=model,
        load=load,
        seed=seed,
        device=HOST,
        dtype="float32",
        threads=threads,
        max_batch=batch,
        context_length=input_len + output_len,
        batch_fill="pack",
    )  # the usual chunks: what a host computes of more prompt tokens at once no longer fits into its caches
    with Engine(settings) as engine:
        for number in range(-1, repeats):
            prompts = [random.choices(range(source.config().vocab_size), k=input_len) for _ in range(batch)]
            sides = (OURS, THEIRS) if number % 2 else (THEIRS, OURS)
            for side in sides:
                if side == OURS:
                    requests = collect(engine.generate(prompts, output_len, ignore_eos=True))
                else:
                    requests = _theirs(built, torch.tensor(prompts), output_len)
                if number >= 0:
                    runs.append({"batch": batch, "number": number, "side": side, "requests": requests})
    return {"runs": runs}


def _theirs(model: Any, prompts: Any, count: int) -> list[dict[str, list[Any]]]:
    """A run of transformers' generate: as `collect`, the times from a look at the clock after each step."""
    import time

    import torch

    from experiments.serving import transformers_baseline

    seconds: list[float] = []

    def look(tokens: Any, scores: Any, **_: Any) -> Any:
        seconds.append(round(time.perf_counter() - began, 4))
        return torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)

    began = time.perf_counter()
    tokens = transformers_baseline.generate(model, prompts, count, stopping_criteria=[look])
    return [{"tokens": row, "seconds": seconds} for row in tokens.tolist()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Tokens per second: of the prompts until every prompt has its first token, and of the tokens after it."""

    prefill: float
    decode: float


def rates(requests: Sequence[Mapping[str, Any]], input_len: int) -> Rates:
    """The reduction of one stored run."""
    first = max(request["seconds"][0] for request in requests)
    last = max(request["seconds"][-1] for request in requests)
    later = sum(len(request["tokens"]) - 1 for request in requests)
    return Rates(prefill=len(requests) * input_len / first, decode=later / (last - first))


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The medians of both sides at one batch size, and how often they made the same tokens, of all prompts."""

    ours: Rates
    theirs: Rates
    same: int
    prompts: int

    @property
    def prefill(self) -> float:
        """Ours over theirs."""
        return self.ours.prefill / self.theirs.prefill

    @property
    def decode(self) -> float:
        """Ours over theirs."""
        return self.ours.decode / self.theirs.decode


def comparison(result: Mapping[str, Any]) -> dict[int, Comparison]:
    """The reduction of a stored result, by batch size."""
    input_len = result["provenance"]["arguments"]["input_len"]
    found = {}
    for batch in dict.fromkeys(run["batch"] for run in result["runs"]):
        sides: dict[str, list[Any]] = {
            side: [run["requests"] for run in result["runs"] if (run["batch"], run["side"]) == (batch, side)]
            for side in (OURS, THEIRS)
        }
        medians = {side: _median([rates(requests, input_len) for requests in runs]) for side, runs in sides.items()}
        pairs = [
            (one["tokens"], other["tokens"])
            for ours, theirs in zip(sides[OURS], sides[THEIRS], strict=True)
            for one, other in zip(ours, theirs, strict=True)
        ]
        found[batch] = Comparison(
            ours=medians[OURS],
            theirs=medians[THEIRS],
            same=sum(one == other for one, other in pairs),
            prompts=len(pairs),
        )
    return found


def _median(found: Sequence[Rates]) -> Rates:
    return Rates(prefill=median(one.prefill for one in found), decode=median(one.decode for one in found))
