"""Real pipelines of real processes: the same bits for every split, and the tokens of transformers' own Llama."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from reference.config import EngineConfig
from reference.engine import Engine
from tests.reference.checkpoints import oracle_greedy, save_llama

pytestmark = pytest.mark.xdist_group("pipeline")

PROMPTS = [[5], [3, 1, 4, 1, 5, 92, 65], [35, 89, 79], [32, 38, 46, 26], [43, 38, 32, 79, 50, 28, 8, 41], [19, 71]]
MAX_BATCH, ROWS, NEW = 2, 5, 6
"""Fewer rows than requests, so that some wait and join later, and batches of unequal prompts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one run of the engine gave: tokens of each prompt, and the last rank's record of all batches."""

    tokens: list[list[int]]
    record: list[dict[str, Any]]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    save_llama(folder)
    return folder


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return save_llama(tmp_path_factory.mktemp("oracle"))


@pytest.fixture(scope="module")
def serve(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """`serve(pp, depth)` runs all prompts at once; each pair once a module."""
    folder = tmp_path_factory.mktemp("logits")

    @cache
    def run(pp: int, depth: int, **options: Any) -> Run:
        path = folder / "logits.pt"
        config = EngineConfig(
            model=str(checkpoint),
            device="cpu",
            pp=pp,
            depth=depth,
            threads=1,
            max_batch=MAX_BATCH,
            rows=ROWS,
            max_len=32,
            record_logits=path,
            **options,
        )
        tokens: list[list[int]] = [[] for _ in PROMPTS]
        with Engine(config) as engine:
            for output in engine.generate(PROMPTS, NEW, ignore_eos=True):
                tokens[output.index].append(output.token)
        return Run(tokens=tokens, record=torch.load(path, weights_only=True))

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
