"""Requests served in one process: the tokens and log-probabilities of transformers, however they are batched."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from reference.checkpoint.hf_checkpoint import HfCheckpoint
from reference.scheduling.batch import SCORED_CHUNK
from reference.scheduling.request import NewToken, Request, SamplingSpec
from tests.reference.checkpoints import (
    BIASED,
    LINEAR_ROPE,
    LLAMA3_ROPE,
    Chain,
    oracle_greedy,
    oracle_logits,
    save_llama,
    serve,
)

PROMPTS = [[5], [3, 1, 4, 1, 5, 92, 65, 35, 89], [35, 89, 79], [32, 38, 46, 26, 43] * 5, [8, 41], [19, 71, 7] * 4]
NEW = 64

SHAPES: dict[str, dict[str, Any]] = {
    "grouped heads": {},
    "tied": {"tie_word_embeddings": True},
    "biases, linear rope": {**BIASED, "rope_parameters": LINEAR_ROPE},
    "one KV head, llama 3.1 rope": {"rope_parameters": LLAMA3_ROPE, "num_key_value_heads": 1, "head_dim": 16},
}


def ask(number: int, **fields: Any) -> Request:
    return Request(**{"id": number, "prompt": tuple(PROMPTS[number]), "max_new_tokens": NEW, **fields})


def numbers(tokens: list[NewToken]) -> list[int]:
    return [token.token for token in tokens]


@pytest.fixture(scope="module", params=SHAPES.values(), ids=SHAPES.keys())
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """transformers' model, and the folder that has it."""
    folder = tmp_path_factory.mktemp("llama")
    return save_llama(folder, **request.param), folder


@pytest.fixture(scope="module")
def texts(pair: tuple[Any, Path]) -> list[list[int]]:
    """transformers' greedy continuations."""
    return [oracle_greedy(pair[0], prompt, NEW) for prompt in PROMPTS]


@pytest.fixture
def chain(pair: tuple[Any, Path]) -> Chain:
    return Chain(HfCheckpoint(folder=pair[1]), stages=2, rows=4, max_len=128)


@pytest.mark.parametrize(
    "sizes",
    [
        {"max_batch": 1, "rows": 1},
        {"max_batch": 4},
        {"max_batch": 4, "chunk": 7},
        {"max_batch": 2, "slots": 3, "rows": 3, "chunk": 16},
        {"max_batch": 3, "slots": 2, "fill": "pack", "chunk": 1},
    ],
    ids=str,
)
def test_greedy_tokens_are_those_of_transformers_however_batched(
    chain: Chain, texts: list[list[int]], sizes: dict[str, Any]
) -> None:
    """Alone, in batches that requests join and leave, and with prompts in chunks down to single tokens."""
    requests = [ask(number, max_new_tokens=NEW - 3 * number) for number in range(len(PROMPTS))]
    served = serve(chain, requests, **sizes)
    for number, text in enumerate(texts):
        assert numbers(served[number]) == text[: NEW - 3 * number]
    assert all(len(set(text)) > 4 for text in texts), "a text that repeats itself shows little"


@pytest.mark.parametrize("chunk", [2048, 5])
@pytest.mark.parametrize("first", [0, 1, 4, 11])
def test_log_probabilities_are_those_of_transformers(
    pair: tuple[Any, Path], chain: Chain, chunk: int, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of output and prompt, with the likeliest five; some want them, some not, some fewer of the likeliest."""
    monkeypatch.setattr("reference.scheduling.scheduler.SCORED_CHUNK", 6)
    requests = [
        ask(0, max_new_tokens=8, logprobs=True),
        ask(1, max_new_tokens=8, logprobs=True, top_logprobs=5, prompt_logprobs_from=min(first, 8)),
        ask(2, max_new_tokens=8),
        ask(3, max_new_tokens=8, top_logprobs=2, prompt_logprobs_from=first),
    ]
    served = serve(chain, requests, chunk=chunk)
    for request in requests:
        made = served[request.id]
        whole = torch.tensor([[*request.prompt, *numbers(made)]])
        logprobs = oracle_logits(pair[0], whole)[0].log_softmax(-1)
        top = request.top_logprobs

        def agrees(position: int, token: int, logprob: float | None, best: Any, top: int = top, all_=logprobs) -> None:
            row = all_[position - 1]
            assert logprob == pytest.approx(float(row[token]), abs=1e-4)
            assert [value for _, value in best] == pytest.approx(row.topk(top).values.tolist() if top else [], abs=1e-4)
            assert [value for _, value in best] == pytest.approx([float(row[token]) for token, _ in best], abs=1e-4)

        for at, token in enumerate(made):
            if request.logprobs:
                agrees(len(request.prompt) + at, token.token, token.logprob, token.top)
            else:
                assert (token.logprob, token.top) == (None, ())
        wanted = request.prompt_logprobs_from
        scored = list(enumerate(made[0].prompt_logprobs, wanted or 0))
        assert len(scored) == (0 if wanted is None else len(request.prompt) - wanted)
        for position, item in scored:
            assert item.token == request.prompt[position]
            if position == 0:
                assert (item.logprob, item.top) == (None, ())
            else:
                agrees(position, item.token, item.logprob, item.top)
        assert not any(token.prompt_logprobs for token in made[1:])


def test_logits_of_every_position_are_never_more_than_a_slice(pair: tuple[Any, Path]) -> None:
    """A prompt of several slices: the last stage is asked for all positions of one slice at a time."""
    asked = []

    class Watched(Chain):
        def __call__(self, tokens: Any, batch: Any, every_position: bool = False) -> Any:
            asked.append((tokens.numel(), every_position))
            return super().__call__(tokens, batch, every_position)

    prompt = tuple(range(97)) * 8
    request = Request(id=0, prompt=prompt, max_new_tokens=1, prompt_logprobs_from=0)
    (token,) = serve(Watched(HfCheckpoint(folder=pair[1]), rows=1, max_len=1024), [request], rows=1)[0]
    assert len(token.prompt_logprobs) == len(prompt)
    assert asked == [(SCORED_CHUNK, True)] * 3 + [(len(prompt) - 3 * SCORED_CHUNK, True)]


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_the_same_seed_draws_the_same_tokens_however_batched(chain: Chain, top_p: float) -> None:
    requests = [
        ask(number, max_new_tokens=20, sampling=SamplingSpec(temperature=1.0, top_p=top_p, seed=number // 2))
        for number in range(len(PROMPTS))
    ]
    one_by_one = serve(chain, requests, max_batch=1, rows=1)
    assert serve(chain, requests, max_batch=4) == one_by_one
    assert serve(chain, requests, max_batch=2, slots=2, chunk=4) == one_by_one
    other = [replace(item, sampling=replace(item.sampling, seed=99)) for item in requests]
    assert serve(chain, other, max_batch=4) != one_by_one
    greedy = serve(chain, [ask(number, max_new_tokens=20) for number in range(len(PROMPTS))])
    assert greedy != one_by_one


def test_those_who_draw_leave_those_who_do_not_alone(chain: Chain, texts: list[list[int]]) -> None:
    requests = [ask(0), ask(1, sampling=SamplingSpec(temperature=5.0)), ask(2)]
    served = serve(chain, requests)
    assert (numbers(served[0]), numbers(served[2])) == (texts[0], texts[2])
    assert numbers(served[1]) != texts[1]
