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
class ChunkArrival:
    """One chunk of the answer: of which prompt, how many new tokens that has by now, and when (seconds since the
    request)."""

    prompt_index: int
    num_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRun:
    """One request from its start to the end of the stream, `latency` seconds. decode_rate: tokens per second at the
    engine's last decode log, 0 where it made none."""

    case: Case
    arrivals: tuple[ChunkArrival, ...]
    latency: float
    decode_rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """Seconds, and tokens per second; None where there is nothing to divide by, or no decode log."""

    latency: float
    input_throughput: float | None
    output_throughput: float | None
    last_ttft: float
    last_gen_throughput: float | None


def bench_result(run: BatchRun) -> BenchResult:
    """The five figures by upstream's definitions.

    last_ttft: arrival of the last chunk that carries a first token. input throughput: batch x input_len / last_ttft.
    output throughput: batch x output_len / (latency - last_ttft). Raises RuntimeError where tokens are missing.
    """
    case = run.case
    most = {item.prompt_index: item.num_tokens for item in sorted(run.arrivals, key=lambda item: item.num_tokens)}
    if most != dict.fromkeys(range(case.batch_size), case.output_len):
        raise RuntimeError(f"not every prompt got its {case.output_len} tokens: {most}; look at the server's messages")
    begun = {item.prompt_index: item.seconds for item in sorted(run.arrivals, key=lambda item: -item.seconds)}
    first = max(begun.values())
    return BenchResult(
        latency=run.latency,
        input_throughput=_ratio(case.batch_size * case.input_len, first),
        output_throughput=_ratio(case.batch_size * case.output_len, run.latency - first),
        last_ttft=first,
        last_gen_throughput=run.decode_rate or None,
    )


class Target(Protocol):
    """Something that continues a batch of prompts.

    vocabulary: how many tokens it knows.
    """

    vocabulary: int

    @property
    def context_length(self) -> int | None:
        """Tokens that a prompt and its new ones may have together; None where that is not known."""

    def flush(self) -> None:
        """Drops what is cached between requests. Raises ValueError where requests are under way."""

    def run(self, prompts: Sequence[Sequence[int]], output_len: int) -> tuple[list[ChunkArrival], float]:
        """Continues all prompts greedily, past the end of texts; the arrivals and the latency."""

    def decode_rate(self) -> float:
        """Tokens per second at the last decode log, 0 where there is none."""


def measure(target: Target, case: Case, random: Random) -> BatchRun:
    """One case, with prompts of tokens drawn evenly from the vocabulary."""
    target.flush()
    prompts = [random.choices(range(target.vocabulary), k=case.input_len) for _ in range(case.batch_size)]
    arrivals, latency = target.run(prompts, case.output_len)
    return BatchRun(case=case, arrivals=tuple(arrivals), latency=latency, decode_rate=target.decode_rate())


def cases(batch_size: Iterable[int], input_len: Iterable[int], output_len: Iterable[int]) -> list[Case]:
    """Every combination, in upstream's order."""
    combined = itertools.product(batch_size, input_len, output_len)
    return [Case(batch_size=batch, input_len=given, output_len=new) for batch, given, new in combined]


def warm_ups(batch_size: Iterable[int], context_length: int | None = None) -> list[Case]:
    """One case for each batch size, no longer than the target takes: `context_length` tokens, if that is known."""
    output_len = WARM_UP_OUTPUT if context_length is None else max(1, min(WARM_UP_OUTPUT, context_length // 2))
    room = WARM_UP_INPUT if context_length is None else max(1, context_length - output_len)
    input_len = min(WARM_UP_INPUT, room)
    return [Case(batch_size=batch, input_len=input_len, output_len=output_len) for batch in batch_size]


def check_lengths(timed: Iterable[Case], context_length: int | None) -> None:
    """Raises ValueError where a case is longer than the target takes, `context_length` tokens, if that is known."""
    longest = max((case.input_len + case.output_len for case in timed), default=0)
    if context_length is not None and longest > context_length:
        raise ValueError(f"a case of {longest} tokens, but there is room for {context_length}; give smaller lengths")


def run_all(
    target: Target, warm: Sequence[Case], timed: Sequence[Case], seed: int, log: Callable[[str], None]
) -> list[tuple[str, BatchRun]]:
    """All cases in their order, each called warm-up or bench."""
    random, done = Random(seed), []
    for name, case in [*(("warm-up", case) for case in warm), *(("bench", case) for case in timed)]:
        log(f"{name}: batch {case.batch_size}, input {case.input_len}, output {case.output_len}")
        done.append((name, measure(target, case, random)))
    return done


def table(runs: Iterable[tuple[str, BatchRun]]) -> str:
    """The figures for people, one line a case, in Markdown."""
    from tabulate import tabulate  # slow to import, and the help has no table

    headers = (
        *("run", "batch", "input_len", "output_len", "latency", "input throughput", "output throughput"),
        *("last_ttft", "last generation throughput"),
    )
    rows = []
    for name, run in runs:
        case, result = run.case, bench_result(run)
        rows.append(
            (
                *(name, case.batch_size, case.input_len, case.output_len, f"{result.latency:.2f} s"),
                *(_rate(result.input_throughput), _rate(result.output_throughput)),
                *(f"{result.last_ttft:.2f} s", _rate(result.last_gen_throughput)),
            )
        )
    return tabulate(rows, headers=headers, tablefmt="github")


def as_json(name: str, run: BatchRun) -> dict[str, Any]:
    """All of one case as plain JSON types, raw samples included: [prompt, its tokens by then, seconds] each."""
    samples = [[item.prompt_index, item.num_tokens, item.seconds] for item in run.arrivals]
    return {"run_name": name, **asdict(run.case), **asdict(bench_result(run)), "samples": samples}


def _ratio(tokens: int, seconds: float) -> float | None:
    return tokens / seconds if seconds > 0 else None


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} tok/s"
