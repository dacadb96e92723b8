"""Serving with the reference pipeline: how fast at each PP, and where it hangs.

Speed is measured with requests enough to fill every microbatch slot; the hang, with an isend that blocks and
polls as reported for XCCL, once with one request and once with every slot full.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from model.pipelines.serving import CONTROL, DATA, unroll
from model.rings.orderings import ordering
from model.semantics.libraries import semantics

if TYPE_CHECKING:
    from reference.engine.engine import TokenOutput

NAME = "serving"

PROMPTS = (
    "The capital of France is",
    "Water boils at a temperature of",
    "A ring of processes hangs when",
    "The three primary colours are",
    "To make a cup of tea, first",
    "The largest planet of the solar system is",
    "In the year 1969, people",
    "A prime number is a number that",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Serving runs of the reference pipeline: tokens per second at each PP, and the hang under a blocking isend."""

    model: str = "smollm2"
    load: Literal["checkpoint", "random"] = "checkpoint"
    """Both as for `python -m reference generate`."""
    pp: tuple[int, ...] = (1, 2, 3, 4)
    """Numbers of stages whose speed is measured."""
    requests: int = 8
    """How many prompts are continued, all at once."""
    max_batch: int = 2
    """Requests in one microbatch."""
    max_new_tokens: int = 12
    threads: int = 1
    """Threads of each rank, the same at every PP."""
    repeats: int = 3
    """Runs of each PP, after one that does not count."""
    hang_pp: tuple[int, ...] = (2, 3, 4)
    """Numbers of stages at which a hang is tried."""
    hang_orderings: tuple[str, ...] = ("send-first", "parity")
    watchdog_s: float = 5.0
    """How long no rank may make progress in a run that may hang."""


SMOKE = Config(pp=(1, 2), max_new_tokens=4, repeats=1, hang_pp=(2,))


def run(config: Config) -> dict[str, Any]:
    """`speed`: the runs at each PP; `hangs`: those under a blocking isend, predicted and measured."""
    from tqdm import tqdm

    for name in ("requests", "repeats"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name} is {getattr(config, name)}; give 1 or more")
    trials = [(pp, name, requests) for pp in config.hang_pp for name in config.hang_orderings for requests in (1, pp)]
    with tqdm(desc=NAME, total=len(config.pp) * (config.repeats + 1) + len(trials), unit="run", delay=1) as bar:
        speed = [item for pp in config.pp for item in speed_runs(config, pp, bar.update)]
        hangs = []
        for pp, name, requests in trials:
            hangs.append(hang_run(config, pp=pp, name=name, requests=requests))
            bar.update()
    return {"prompts": prompts(config, config.requests), "speed": speed, "hangs": hangs}


def speed_runs(config: Config, pp: int, done: Callable[[], object]) -> list[dict[str, Any]]:
    """Repeated runs on one engine: for each request its tokens, and when each came, in seconds."""
    from reference.config import EngineConfig
    from reference.engine.engine import Engine

    runs = []
    settings = EngineConfig(
        model=config.model, load=config.load, pp=pp, max_batch=config.max_batch, threads=config.threads
    )
    with Engine(settings) as engine:
        for repeat in range(-1, config.repeats):  # the first one warms up
            outputs = engine.generate(prompts(config, config.requests), config.max_new_tokens, ignore_eos=True)
            requests = collect(outputs)
            if repeat >= 0:
                runs.append({"pp": pp, "repeat": repeat, "requests": requests})
            done()
    return runs


def prompts(config: Config, count: int) -> list[str | list[int]]:
    """So many prompts: texts, or bytes as token ids for random weights, which have no tokenizer."""
    texts = [PROMPTS[index % len(PROMPTS)] for index in range(count)]
    return [list(text.encode()) if config.load == "random" else text for text in texts]


def collect(outputs: Iterable[TokenOutput]) -> list[dict[str, list[Any]]]:
    """Tokens and arrival times by request, in the order of the requests."""
    tokens, seconds = defaultdict[int, list[int]](list), defaultdict[int, list[float]](list)
    for output in outputs:
        tokens[output.index].append(output.token)
        seconds[output.index].append(round(output.elapsed, 4))
    return [{"tokens": tokens[index], "seconds": seconds[index]} for index in sorted(tokens)]


def hang_run(config: Config, *, pp: int, name: str, requests: int) -> dict[str, Any]:
    """One run under a blocking isend without preflight, one request a microbatch: predicted and measured."""
    from reference.config import EngineConfig
    from reference.engine.engine import Engine
    from reference.verification.watchdog import PipelineStalled, RankDied

    settings = EngineConfig(
        model=config.model,
        load=config.load,
        pp=pp,
        ordering=name,
        blocking_isend=True,
        preflight=False,
        max_batch=1,
        threads=config.threads,
        watchdog=config.watchdog_s,
    )
    tokens = pp + 2
    began = time.monotonic()
    measured, said = "ok", ""
    circuit: Sequence[int] = ()
    try:
        with Engine(settings) as engine:
            made = len(list(engine.generate(prompts(config, requests), tokens, ignore_eos=True)))
        if made != requests * tokens:
            measured, said = "unclear", f"{made} tokens instead of {requests * tokens}"
    except PipelineStalled as stuck:
        circuit, said = stuck.circuit, str(stuck)
        measured = "hang" if circuit else "unclear"
    except RankDied as died:
        measured, said = "unclear", str(died)
    return {
        "pp": pp,
        "ordering": name,
        "requests": requests,
        "predicted": predict(pp=pp, name=name, requests=requests, tokens=tokens),
        "samples": [
            {
                "verdict": measured,
                "seconds": round(time.monotonic() - began, 2),
                "circuit": circuit,
                "said": said.splitlines(),
            }
        ],
    }


def predict(*, pp: int, name: str, requests: int, tokens: int) -> str:
    """The model's verdict on the engine's own loop where `requests` of its slots hold a batch, `tokens` times."""
    from model import check
    from model.verdict.arguments import of_its_communicators

    present = [iteration % pp < requests for iteration in range(pp * tokens)]
    program = unroll(ranks=pp, depth=0, ordering=ordering(name, pp), present=present)
    declared = {CONTROL: semantics("gloo"), DATA: semantics("rendezvous")}
    return check(program, of_its_communicators(program, declared)).verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """One run, reduced.

    tokens_per_s: all new tokens, from the call to the last of them. ttft_s, latency_s: mean time of a
    request's first and last token.
    """

    tokens_per_s: float
    ttft_s: float
    latency_s: float


def speed(requests: Sequence[dict[str, list[Any]]]) -> Speed:
    """The reduction of one stored run."""
    firsts = [request["seconds"][0] for request in requests]
    lasts = [request["seconds"][-1] for request in requests]
    return Speed(
        tokens_per_s=sum(len(request["tokens"]) for request in requests) / max(lasts),
        ttft_s=sum(firsts) / len(firsts),
        latency_s=sum(lasts) / len(lasts),
    )


def same_tokens(runs: Iterable[dict[str, Any]]) -> bool:
    """Whether every stored run, at every PP, made the same tokens."""
    return len({tuple(tuple(request["tokens"]) for request in run["requests"]) for run in runs}) == 1
