"""Engines that are well: outputs, callers beside each other, aborts, and requests that are refused."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from reference.engine.engine import Engine, QueueFull, SamplingParams
from tests.patience import wait_until
from tests.reference.checkpoints import save_letters
from tests.reference.engines import PROMPTS, Heard, config, gone, tokens

pytestmark = pytest.mark.xdist_group("engine")


@pytest.fixture(scope="module")
def engine(checkpoint: Path) -> Iterator[Engine]:
    """One healthy engine of two ranks, for tests that leave it healthy."""
    with Engine(config(checkpoint, pp=2, depth=1, context_length=64)) as running:
        yield running
    assert gone(running.pids)


def test_outputs_come_in_order_with_times_and_a_reason_at_the_end(engine: Engine) -> None:
    outputs = list(engine.generate(PROMPTS, 4, ignore_eos=True))
    for index in range(len(PROMPTS)):
        mine = [output for output in outputs if output.index == index]
        assert [output.reason for output in mine] == [None, None, None, "length"]
        assert [output.elapsed for output in mine] == sorted(output.elapsed for output in mine)
        assert mine[0].elapsed > 0
    assert engine.prediction is not None and engine.prediction.verdict == "ok"


def test_a_stop_token_ends_a_text(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tokens(engine, PROMPTS[:1], 8)[0]
    stop = whole[3]
    monkeypatch.setattr(engine._input_processor, "_shape", replace(engine.shape, eos=(stop,)))
    outputs = list(engine.generate(PROMPTS[:1], 8))
    assert [output.token for output in outputs] == whole[: whole.index(stop) + 1]
    assert outputs[-1].reason == "stop"


def test_two_callers_share_an_engine(engine: Engine) -> None:
    """Requests that join while others run get the tokens that they get alone, one to a microbatch or not."""
    alone = [tokens(engine, [prompt], 12)[0] for prompt in PROMPTS]
    together: dict[int, list[int]] = {}

    def call(index: int) -> None:
        together[index] = tokens(engine, [PROMPTS[index]], 12)[0]

    threads = [threading.Thread(target=call, args=(index,)) for index in range(len(PROMPTS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[index] for index in range(len(PROMPTS))] == alone


def test_a_generator_closed_early_leaves_the_engine_in_order(engine: Engine) -> None:
    expected = tokens(engine, PROMPTS[:1], 5)
    stream = engine.generate([[1, 2, 3]] * 40, 60, ignore_eos=True)
    next(stream)
    stream.close()
    assert tokens(engine, PROMPTS[:1], 5) == expected


def test_a_stream_that_nobody_keeps_is_aborted(engine: Engine) -> None:
    before = engine.stats().aborted
    engine.generate([[1, 2, 3]] * 40, 60, ignore_eos=True)
    wait_until(engine.is_idle, what="it is still being served")
    assert engine.stats().aborted > before


@pytest.mark.parametrize(
    ("prompts", "new", "message"),
    [
        ([[1], []], 4, "the prompt is empty"),
        ([[1]], 0, "max_new_tokens is 0"),
        ([[1] * 61], 4, "more than the cache holds"),
        ([[1, 97]], 4, "token 97"),
        (["text"], 4, "tokenizer.json does not exist"),
    ],
)
def test_a_bad_request_is_refused_and_the_engine_goes_on(
    engine: Engine, prompts: list[Any], new: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        engine.generate(prompts, new)
    assert len(tokens(engine, PROMPTS, 2)[2]) == 2


@pytest.mark.parametrize(
    ("prompt", "params", "message"),
    [
        ([1.5], SamplingParams(), "neither a text nor token ids"),
        (7, SamplingParams(), "neither a text nor token ids"),
        (b"abc", SamplingParams(), "neither a text nor token ids"),
        ([1], SamplingParams(stop=("x",)), "stop strings need a tokenizer"),
        ([1], SamplingParams(logprobs=True, top_logprobs=98), "top_logprobs is 98; the vocabulary has 97 tokens"),
        ([1, 2], SamplingParams(prompt_logprobs_from=2), "from position 2 of the prompt on, which has 2 tokens"),
        ([1], [SamplingParams()] * 2, "2 params for 1 prompts"),
    ],
)
def test_submit_refuses_before_anything_enters(engine: Engine, prompt: Any, params: Any, message: str) -> None:
    before = engine.stats()
    with pytest.raises(ValueError, match=message):
        engine.submit([prompt], params, lambda _: None)
    assert engine.stats() == before


@pytest.mark.parametrize("prompts", ["abc", b"abc"])
def test_a_prompt_is_no_list_of_prompts(engine: Engine, prompts: Any) -> None:
    with pytest.raises(ValueError, match="give a list of prompts, with one in it"):
        next(engine.generate(prompts))


def test_every_prompt_has_parameters_of_its_own(engine: Engine) -> None:
    whole = tokens(engine, PROMPTS, 9)
    heard = Heard(3)
    asked = [
        SamplingParams(max_new_tokens=4, ignore_eos=True, logprobs=True),
        SamplingParams(max_new_tokens=9, stop_token_ids=(whole[1][2],), ignore_eos=True),
        SamplingParams(max_new_tokens=2, ignore_eos=True, prompt_logprobs_from=0),
    ]
    engine.submit(PROMPTS, asked, heard)
    until = whole[1].index(whole[1][2]) + 1
    assert heard.wait() == [whole[0][:4], whole[1][:until], whole[2][:2]]
    first, second, third = heard.outputs
    assert [item.num_tokens for item in first] == [1, 2, 3, 4] and all(item.logprob is not None for item in first)
    assert (second[-1].reason, second[-1].prompt_tokens, second[-1].logprob) == ("stop", 2, None)
    assert [item.token for item in third[0].prompt_logprobs] == PROMPTS[2] and third[1].prompt_logprobs == ()


def test_the_same_seed_draws_the_same_tokens_whatever_else_is_served(engine: Engine) -> None:
    def drawn(seed: int | None, beside: int = 0) -> list[int]:
        asked = [SamplingParams(max_new_tokens=12, temperature=2.0, seed=seed, ignore_eos=True)]
        heard = Heard(1 + beside)
        engine.submit([*PROMPTS[:1], *[[7, 8]] * beside], asked * (1 + beside), heard)
        return heard.wait()[0]

    assert drawn(1) == drawn(1, beside=5) != drawn(2)
    assert drawn(None) != drawn(None)


def test_a_storm_of_aborts_leaves_the_others_alone(engine: Engine) -> None:
    """Sixty callers, of whom every other one goes away sooner or later; the rest get what they get alone."""
    expected = tokens(engine, PROMPTS, 12)
    before, random = engine.stats(), Random(0)
    stay, leave = [], []
    for _ in range(30):
        heard = Heard(len(PROMPTS))
        engine.submit(PROMPTS, SamplingParams(max_new_tokens=12, ignore_eos=True), heard)
        stay.append(heard)
        handle = engine.submit([[random.randrange(97)] * 40] * 2, SamplingParams(max_new_tokens=20), lambda _: None)
        leave.append(handle)
        if random.random() < 0.5:
            leave.pop(random.randrange(len(leave))).cancel()
    for handle in leave:
        handle.cancel()
    assert all(heard.wait() == expected for heard in stay)
    after = engine.stats()
    assert after.requests - before.requests == 30 * 5 and after.aborted > before.aborted
    assert (after.running, after.waiting, after.alive, engine.is_idle()) == (0, 0, True, True)
    assert tokens(engine, PROMPTS, 12) == expected


def test_more_prompts_than_a_pipe_holds_while_tokens_come_back(engine: Engine) -> None:
    """Neither side waits for the other to read: megabytes go in while the tokens of others come out."""
    stream = engine.generate(PROMPTS, 50, ignore_eos=True)
    next(stream)
    heard = Heard(600)
    engine.submit([[number % 97] * 60 for number in range(600)], SamplingParams(max_new_tokens=1), heard)
    assert len(list(stream)) == 149
    assert [len(one) for one in heard.wait()] == [1] * 600


def test_too_many_in_the_queue_are_refused(checkpoint: Path) -> None:
    with Engine(config(checkpoint, pp=1, max_batch=2, max_queued_requests=3)) as engine:
        stream = engine.generate([[1]] * 5, 60, ignore_eos=True)
        with pytest.raises(QueueFull, match="4 requests would wait"):
            engine.generate([[1]], 1)
        assert engine.stats().waiting == 3
        stream.close()
        assert len(tokens(engine, [[1]], 1)) == 1


def test_stop_strings_cut_the_text_and_end_the_request(tmp_path: Path) -> None:
    save_letters(tmp_path)
    with Engine(config(tmp_path, pp=2, chunked_prefill_size=4)) as engine:
        (whole,) = ["".join(out.text for out in engine.generate(["hello world"], 40, ignore_eos=True))]
        stop = whole[20:23]
        asked = SamplingParams(max_new_tokens=40, ignore_eos=True, stop=("no such text", stop))
        outputs = list(engine.generate(["hello world"], params=asked))
        assert "".join(out.text for out in outputs) == whole[: whole.index(stop)]
        assert (outputs[-1].reason, outputs[-1].num_tokens) == ("stop", whole.index(stop) + 3)
        assert engine.is_idle() and engine.stats().aborted == 0
        drawn = SamplingParams(max_new_tokens=6, ignore_eos=True, temperature=1.0, seed=4)
        assert [out.token for out in engine.generate(["x"], params=drawn)] == [
            out.token for out in engine.generate(["x"], params=drawn)
        ]


def test_no_prompts_give_no_outputs(engine: Engine) -> None:
    assert list(engine.generate([], 4)) == []


def test_an_engine_serves_only_inside_its_with_block(checkpoint: Path) -> None:
    closed = Engine(config(checkpoint, pp=1))
    with pytest.raises(RuntimeError, match="has not started"):
        closed.generate(PROMPTS, 1)
    with closed:
        pass
    with pytest.raises(RuntimeError, match="has ended"):
        closed.generate(PROMPTS, 1)
