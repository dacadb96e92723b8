"""Decode steps launched before the tokens of the step before are known: what is planned, and that nothing changes."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

from reference.config import EngineConfig
from reference.engine.engine import Engine
from reference.scheduling.request import Request, SchedulerInput
from reference.scheduling.sampling_params import SamplingParams
from reference.scheduling.scheduler import Scheduler
from tests.reference.checkpoints import save_llama
from tests.reference.small_ring import alone, ask, ring, run, scheduler

PROMPTS = [[5], [3, 1, 4, 1, 5, 92, 65], [35, 89, 79], [32, 38, 46, 26], [43, 38, 32, 79, 50, 28, 8, 41], [19, 71]]


def decoding(*requests: Request, **sizes: int) -> Scheduler:
    """A scheduler whose requests have their first tokens, with a decode step in flight."""
    ours = scheduler(slots=1, **sizes)
    ours.add(requests)
    assert len(ours.schedule(0).requests) == len(requests)
    ours.process_output(0, [5] * len(requests))
    assert ours.schedule(0).ids == tuple(request.id for request in requests)
    return ours


def test_the_next_decode_step_is_planned_and_formed() -> None:
    ours = decoding(ask(0, new=9), ask(1, length=5, new=9))
    planned = ours.peek_next_decode(0)
    assert (planned.ids, planned.rows, planned.starts, planned.lengths) == ((0, 1), (0, 1), (4, 6), (1, 1))
    ours.process_output(0, [7, 8])
    assert ours.schedule(0) == replace(planned, tokens=((7,), (8,)))
    assert planned.planned_ahead


def test_what_was_not_planned_is_not_marked() -> None:
    ours = decoding(ask(0, new=9))
    ours.process_output(0, [7])
    assert not ours.schedule(0).planned_ahead


def test_a_request_at_its_last_token_is_not_planned() -> None:
    ours = decoding(ask(0, new=9), ask(1, new=2))
    assert ours.peek_next_decode(0).ids == (0,)
    last = decoding(ask(1, new=2))
    assert last.peek_next_decode(0) is None


def test_one_that_ends_is_missing_in_the_planned_batch() -> None:
    ours = decoding(ask(0, new=9, stop=(7,)), ask(1, new=9), ask(2, new=9))
    assert ours.peek_next_decode(0).ids == (0, 1, 2)
    ours.abort([2])
    ours.process_output(0, [7, 8, 9])
    batch = ours.schedule(0)
    assert (batch.ids, batch.tokens, batch.planned_ahead) == ((1,), ((8,),), True)


def test_where_all_end_the_next_batch_is_another() -> None:
    ours = decoding(ask(0, new=9, stop=(7,)), max_batch=1)
    ours.add([ask(1)])
    assert ours.peek_next_decode(0).ids == (0,), "no room for the other one"
    ours.process_output(0, [7])
    batch = ours.schedule(0)
    assert (batch.ids, batch.planned_ahead) == ((1,), False)


def test_who_can_join_is_waited_for() -> None:
    ours = decoding(ask(0, new=9))
    ours.add([ask(1)])
    assert ours.peek_next_decode(0) is None
    ours.process_output(0, [5])
    assert ours.schedule(0).ids == (1,)


def test_who_comes_too_late_joins_after_the_planned_step() -> None:
    ours = decoding(ask(0, new=9))
    ours.peek_next_decode(0)
    ours.process_output(0, [5])
    ours.add([ask(1)])
    assert (ours.schedule(0).ids, ours.peek_next_decode(0)) == ((0,), None)
    ours.process_output(0, [5])
    assert ours.schedule(0).ids == (1,)


def test_nothing_is_planned_behind_a_prefill() -> None:
    ours = scheduler(slots=1, chunk=4)
    ours.add([ask(0, length=6, new=9)])
    ours.schedule(0)
    assert ours.peek_next_decode(0) is None


def test_a_request_whose_row_was_written_too_far_spoils_nobody() -> None:
    """Some end by stop tokens, so that what was launched ahead for them is too much; their rows are used again."""
    requests = [
        ask(number, length=1 + number % 4, new=9, stop=(number % 11, (number + 3) % 11)) for number in range(40)
    ]
    told = chain(
        [SchedulerInput(requests=tuple(requests[:10]))], (SchedulerInput(requests=(one,)) for one in requests[10:])
    )
    (rank,) = ring(
        1,
        0,
        lambda: next(told, SchedulerInput(stop=rank.scheduler.idle)),
        lambda: scheduler(slots=1, rows=3, max_batch=3),
        overlap=True,
    )
    run([rank])
    for request in requests:
        assert [token.token for token in rank.tokens if token.request == request.id] == alone(request)
    assert sum(batch is not None and batch.planned_ahead for batch in rank.formed) > 20
    assert rank.computed_too_much > 5


PARAMS = {
    "greedy": SamplingParams(max_new_tokens=8, ignore_eos=True),
    "drawn": SamplingParams(max_new_tokens=8, temperature=2.0, top_p=0.9, seed=5, ignore_eos=True),
    "scored": SamplingParams(max_new_tokens=8, logprobs=True, top_logprobs=3, prompt_logprobs_from=0, ignore_eos=True),
}


KERNELS_TAKE = {
    "vocab_size": 256,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "head_dim": 32,
}


def engine(model: Path, overlap: Any, **options: Any) -> EngineConfig:
    sizes = {"max_batch": 3, "max_running_requests": 3, "context_length": 32, "threads": 1, **options}
    return EngineConfig(model=str(model), device="cpu", overlap=overlap, **sizes)


@pytest.fixture(scope="module")
def both(checkpoint: Path) -> Iterator[list[Engine]]:
    with Engine(engine(checkpoint, "off")) as off, Engine(engine(checkpoint, "on")) as on:
        yield [off, on]


@pytest.mark.xdist_group("pipeline")
@pytest.mark.parametrize("kind", PARAMS)
def test_an_engine_that_looks_ahead_gives_the_same(both: list[Engine], kind: str) -> None:
    runs = []
    for running in both:
        of: list[list[tuple[int, str | None]]] = [[] for _ in PROMPTS]
        numbers = []
        for item in running.generate(PROMPTS, params=PARAMS[kind]):
            of[item.index].append((item.token, item.reason))
            numbers += [] if item.logprob is None else [(item.index, item.num_tokens, item.logprob)]
        runs.append((of, sorted(numbers)))
    (tokens, scores), (tokens_ahead, scores_ahead) = runs
    assert tokens == tokens_ahead
    assert len(scores) == (8 * len(PROMPTS) if kind == "scored" else 0)
    assert [value for *_, value in scores] == pytest.approx([value for *_, value in scores_ahead], abs=1e-4)


@pytest.mark.xdist_group("pipeline")
def test_a_stop_token_ends_a_request_that_was_looked_ahead_of(both: list[Engine]) -> None:
    whole = [item.token for item in both[0].generate([PROMPTS[1]], params=PARAMS["greedy"])]
    stop = SamplingParams(max_new_tokens=8, ignore_eos=True, stop_token_ids=(whole[4],))
    for prompts in ([PROMPTS[1]], PROMPTS[1:]):
        made = [[item.token for item in one.generate(prompts, params=stop) if item.index == 0] for one in both]
        assert made == [whole[: whole.index(whole[4]) + 1]] * 2
    assert all(one.is_idle() for one in both)


@pytest.mark.xdist_group("pipeline")
def test_captured_steps_are_looked_ahead_of_with_the_same_logits(
    tmp_path: Path, require_module: Callable[[str, str], None]
) -> None:
    require_module("triton", "pip install triton")
    save_llama(tmp_path / "model", **KERNELS_TAKE)
    tokens, logits = [], []
    for overlap in ("off", "on"):
        kept = tmp_path / overlap
        with Engine(engine(tmp_path / "model", overlap, decode="captured", record_logits=kept)) as running:
            made: list[list[int]] = [[], []]
            params = [SamplingParams(max_new_tokens=count, ignore_eos=True) for count in (3, 5)]
            for item in running.generate([[1, 2, 3], [4, 5]], params=params):
                made[item.index].append(item.token)
        tokens.append(made)
        logits.append([(batch["requests"], batch["logits"]) for batch in torch.load(kept)])
    assert tokens[0] == tokens[1] and [len(some) for some in tokens[0]] == [3, 5]
    for (ids, ours), (others, theirs) in zip(*logits, strict=True):
        assert ids == others and torch.equal(ours, theirs)


@pytest.mark.xdist_group("pipeline")
def test_who_waits_is_let_in_a_step_later(checkpoint: Path, tmp_path: Path) -> None:
    """What is launched already comes first, so the two engines form other batches: the option has its effect."""
    tokens, prefills, steps = [], [], []
    for overlap in ("off", "on"):
        kept = tmp_path / overlap
        with Engine(engine(checkpoint, overlap, max_running_requests=2, max_batch=2, record_logits=kept)) as running:
            made: list[list[int]] = [[], [], []]
            params = [SamplingParams(max_new_tokens=count, ignore_eos=True) for count in (3, 8, 2)]
            for item in running.generate(PROMPTS[1:4], params=params):
                made[item.index].append(item.token)
        tokens.append(made)
        batches = torch.load(kept)
        first = batches[0]["requests"]
        prefills.append(next(at for at, batch in enumerate(batches) if set(batch["requests"]) - set(first)))
        steps.append(len(batches))
    assert tokens[0] == tokens[1] and steps[0] == steps[1]
    assert prefills == [3, 4]


@pytest.mark.parametrize("sizes", [{"pp": 2}, {"tp": 2}, {"depth": 1}], ids=str)
def test_it_is_for_a_rank_alone(sizes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"overlap is on, but .* choose auto or off"):
        EngineConfig(overlap="on", **sizes)
    assert not EngineConfig(**sizes).overlaps(on_host=False)


def test_it_is_chosen_on_an_accelerator() -> None:
    assert EngineConfig().overlaps(on_host=False) and not EngineConfig().overlaps(on_host=True)
    assert not EngineConfig(overlap="off").overlaps(on_host=False)
    with pytest.raises(ValueError, match="overlap is 'maybe'; choose auto, on or off"):
        EngineConfig(overlap="maybe")  # type: ignore[arg-type]
