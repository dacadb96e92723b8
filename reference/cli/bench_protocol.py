"""The benchmark of one batch: SGLang's `bench_one_batch_server`, its protocol and its five figures.

A case is one request with `batch_size` prompts of `input_len` random tokens, each to be continued by `output_len`
tokens. Before it the cache is flushed. What is kept are the moments at which tokens arrived; figures come from them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Any, Protocol

from tabulate import tabulate

WARM_UP_INPUT, WARM_UP_OUTPUT = 1024, 16
"""Lengths of the case that warms up, one for each batch size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What one request asks for."""

    batch_size: int
    input_len: int
    output_len: int

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 1:
                raise ValueError(f"{name.replace('_', '-')} is {value}; give 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One chunk of the answer: of which prompt, how many new tokens that has by now, and when (seconds since the
    request)."""

    index: int
    made: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One request from its start to the end of the stream, `latency` seconds. decode_rate: tokens per second at the
    engine's last decode log, 0 where it made none."""

    case: Case
    arrivals: tuple[Arrival, ...]
    latency: float
    decode_rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Seconds, and tokens per second; None where there is nothing to divide by, or no decode log."""

    latency: float
    input_throughput: float | None
    output_throughput: float | None
    last_ttft: float
    last_gen_throughput: float | None


def figures(run: Measured) -> Figures:
    """The five figures by upstream's definitions.

    last_ttft: arrival of the last chunk that carries a first token. input throughput: batch x input_len / last_ttft.
    output throughput: batch x output_len / (latency - last_ttft). Raises RuntimeError where tokens are missing.
    """
    case = run.case
    most = {item.index: item.made for item in sorted(run.arrivals, key=lambda item: item.made)}
    if most != dict.fromkeys(range(case.batch_size), case.output_len):
        raise RuntimeError(f"not every prompt got its {case.output_len} tokens: {most}; look at the server's messages")
    begun = {item.index: item.seconds for item in sorted(run.arrivals, key=lambda item: -item.seconds)}
    first = max(begun.values())
    return Figures(
        latency=run.latency,
        input_throughput=_ratio(case.batch_size * case.input_len, first),
        output_throughput=_ratio(case.batch_size * case.output_len, run.latency - first),
        last_ttft=first,
        last_gen_throughput=run.decode_rate or None,
    )


class Target(Protocol):
    """Something that continues a batch of prompts."""

    vocabulary: int

    def flush(self) -> None:
        """Drops what is cached between requests. Raises ValueError where requests are under way."""

    def run(self, prompts: Sequence[Sequence[int]], output_len: int) -> tuple[list[Arrival], float]:
        """Continues all prompts greedily, past the end of texts; the arrivals and the latency."""

    def decode_rate(self) -> float:
        """Tokens per second at the last decode log, 0 where there is none."""


def measure(target: Target, case: Case, random: Random) -> Measured:
    """One case, with prompts of tokens drawn evenly from the vocabulary."""
    target.flush()
    prompts = [random.choices(range(target.vocabulary), k=case.input_len) for _ in range(case.batch_size)]
    arrivals, latency = target.run(prompts, case.output_len)
    return Measured(case=case, arrivals=tuple(arrivals), latency=latency, decode_rate=target.decode_rate())


def cases(batch_size: Iterable[int], input_len: Iterable[int], output_len: Iterable[int]) -> list[Case]:
    """Every combination, in upstream's order."""
    combined = itertools.product(batch_size, input_len, output_len)
    return [Case(batch_size=batch, input_len=given, output_len=new) for batch, given, new in combined]


def warm_ups(batch_size: Iterable[int]) -> list[Case]:
    """One case for each batch size."""
    return [Case(batch_size=batch, input_len=WARM_UP_INPUT, output_len=WARM_UP_OUTPUT) for batch in batch_size]


def run_all(
    target: Target, warm: Sequence[Case], timed: Sequence[Case], seed: int, say: Callable[[str], None]
) -> list[tuple[str, Measured]]:
    """All cases in their order, each called warm-up or bench."""
    random, done = Random(seed), []
    for name, case in [*(("warm-up", case) for case in warm), *(("bench", case) for case in timed)]:
        say(f"{name}: batch {case.batch_size}, input {case.input_len}, output {case.output_len}")
        done.append((name, measure(target, case, random)))
    return done


def table(runs: Iterable[tuple[str, Measured]]) -> str:
    """The figures for people, one line a case, in Markdown."""
    headers = (
        *("run", "batch", "input_len", "output_len", "latency", "input throughput", "output throughput"),
        *("last_ttft", "last generation throughput"),
    )
    rows = []
    for name, run in runs:
        case, found = run.case, figures(run)
        rows.append(
            (
                *(name, case.batch_size, case.input_len, case.output_len, f"{found.latency:.2f} s"),
                *(_rate(found.input_throughput), _rate(found.output_throughput)),
                *(f"{found.last_ttft:.2f} s", _rate(found.last_gen_throughput)),
            )
        )
    return tabulate(rows, headers=headers, tablefmt="github")


def record(name: str, run: Measured) -> dict[str, Any]:
    """All of one case as plain JSON types, raw samples included: [prompt, its tokens by then, seconds] each."""
    samples = [[item.index, item.made, item.seconds] for item in run.arrivals]
    return {"run_name": name, **asdict(run.case), **asdict(figures(run)), "samples": samples}


def _ratio(tokens: int, seconds: float) -> float | None:
    return tokens / seconds if seconds > 0 else None


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} tok/s"
