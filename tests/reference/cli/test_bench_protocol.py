"""The protocol of the benchmark: figures from timestamps, cases, warm-ups, and what a seed draws."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from reference.cli.bench_protocol import (
    BatchRun,
    BenchResult,
    Case,
    ChunkArrival,
    as_json,
    bench_result,
    cases,
    check_lengths,
    run_all,
    table,
    warm_ups,
)

CASE = Case(batch_size=2, input_len=10, output_len=3)


def measured(*arrivals: tuple[int, int, float], latency: float = 4.0, decode_rate: float = 0.0) -> BatchRun:
    items = tuple(
        ChunkArrival(prompt_index=index, num_tokens=made, seconds=seconds) for index, made, seconds in arrivals
    )
    return BatchRun(case=CASE, arrivals=items, latency=latency, decode_rate=decode_rate)


GOOD = ((0, 1, 0.5), (1, 1, 1.0), (0, 2, 1.5), (1, 2, 2.0), (0, 3, 2.5), (1, 3, 3.5))


def test_the_figures_are_upstreams() -> None:
    assert bench_result(measured(*GOOD, decode_rate=7.0)) == BenchResult(
        latency=4.0,
        input_throughput=20 / 1.0,  # batch x input_len / last_ttft
        output_throughput=6 / 3.0,  # batch x output_len / (latency - last_ttft)
        last_ttft=1.0,
        last_gen_throughput=7.0,
    )


def test_a_chunk_may_carry_more_than_a_first_token() -> None:
    assert bench_result(measured((0, 2, 0.5), (1, 1, 1.0), (0, 3, 2.5), (1, 3, 3.5))).last_ttft == 1.0
    assert bench_result(measured((0, 1, 0.5), (1, 2, 1.5), (0, 3, 2.5), (1, 3, 3.5))).last_ttft == 1.5


def test_the_figures_of_the_pull_request_check() -> None:
    """8192 tokens in 0.6277 s, then 1024 in the rest of 25.09 s."""
    arrivals = [
        ChunkArrival(prompt_index=index, num_tokens=made, seconds=0.6277 if made == 1 else 25.0)
        for index in range(8)
        for made in (1, 128)
    ]
    run = BatchRun(
        case=Case(batch_size=8, input_len=1024, output_len=128),
        arrivals=tuple(arrivals),
        latency=25.09,
        decode_rate=0.0,
    )
    found = bench_result(run)
    assert found.input_throughput == pytest.approx(13051, rel=1e-4)
    assert found.output_throughput == pytest.approx(41.86, rel=1e-3)
    assert found.last_gen_throughput is None


@pytest.mark.parametrize(
    "arrivals", [GOOD[:-1], GOOD[:-2], ((0, 3, 1.0), (1, 4, 1.0)), (*GOOD, (2, 1, 1.0)), ((0, 1, 1.0),), ()]
)
def test_missing_or_surplus_tokens_are_no_measurement(arrivals: Sequence[tuple[int, int, float]]) -> None:
    with pytest.raises(RuntimeError, match="not every prompt got its 3 tokens"):
        bench_result(measured(*arrivals))


def test_nothing_to_divide_by_gives_no_figure() -> None:
    instant = measured(*((index, made, 0.0) for index, made, _ in GOOD), latency=0.0)
    assert (bench_result(instant).input_throughput, bench_result(instant).output_throughput) == (None, None)
    assert "| - " in table([("bench", instant)])


def test_the_table_and_the_as_json() -> None:
    run = measured(*GOOD, decode_rate=7.0)
    head, _, line = table([("bench", run)]).splitlines()
    assert [cell.strip() for cell in head.strip("|").split("|")][3:] == [
        *("output_len", "latency", "input throughput", "output throughput", "last_ttft", "last generation throughput")
    ]
    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        *("bench", "2", "10", "3", "4.00 s", "20.00 tok/s", "2.00 tok/s", "1.00 s", "7.00 tok/s")
    ]
    kept = json.loads(json.dumps(as_json("bench", run)))
    assert (kept["batch_size"], kept["last_ttft"], kept["samples"][0]) == (2, 1.0, [0, 1, 0.5])


def test_cases_are_every_combination_after_a_warm_up_for_each_batch_size() -> None:
    assert [(case.batch_size, case.input_len, case.output_len) for case in cases((1, 2), (3,), (4, 5))] == [
        *((1, 3, 4), (1, 3, 5), (2, 3, 4), (2, 3, 5))
    ]
    assert [(case.batch_size, case.input_len, case.output_len) for case in warm_ups((1, 8))] == [
        *((1, 1024, 16), (8, 1024, 16))
    ]
    with pytest.raises(ValueError, match="batch-size is 0"):
        cases((0,), (3,), (4,))


@pytest.mark.parametrize("length", [2, 3, 17, 512, 1039, 1040, 5000, None])
def test_a_warm_up_is_no_longer_than_there_is_room_for(length: int | None) -> None:
    (case,) = warm_ups((4,), length)
    if length is None or length >= 1040:
        assert (case.input_len, case.output_len) == (1024, 16)
    else:
        assert case.input_len + case.output_len == length
    check_lengths([case], length)
    if length is not None:
        with pytest.raises(ValueError, match=f"a case of {length + 1} tokens, but there is room for {length};"):
            check_lengths([case, replace(case, input_len=length + 1 - case.output_len)], length)


class Recording:
    """A target that notes what it is asked, and answers at once."""

    vocabulary, context_length = 50, None

    def __init__(self) -> None:
        self.asked: list[object] = []

    def flush(self) -> None:
        self.asked.append("flush")

    def run(self, prompts: Sequence[Sequence[int]], output_len: int) -> tuple[list[ChunkArrival], float]:
        self.asked.append([list(prompt) for prompt in prompts])
        made = range(1, output_len + 1)
        return [
            ChunkArrival(prompt_index=index, num_tokens=n, seconds=n) for n in made for index in range(len(prompts))
        ], output_len + 1.0

    def decode_rate(self) -> float:
        self.asked.append("rate")
        return 3.0


def test_each_case_flushes_then_asks_once_and_a_seed_draws_the_same_prompts() -> None:
    asked = []
    for seed in (1, 1, 2):
        target = Recording()
        said: list[str] = []
        runs = run_all(target, [], [CASE, CASE], seed, said.append)
        assert [name for name, _ in runs] == ["bench", "bench"] and len(said) == 2
        asked.append(target.asked)
    assert [item if isinstance(item, str) else "run" for item in asked[0]] == ["flush", "run", "rate"] * 2
    assert asked[0] == asked[1] != asked[2]
    assert asked[0][1] != asked[0][4]
    prompts = asked[0][1]
    assert isinstance(prompts, list) and [len(prompt) for prompt in prompts] == [10, 10]
    assert all(0 <= token < 50 for prompt in prompts for token in prompt)
