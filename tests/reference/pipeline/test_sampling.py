"""Drawing tokens: against transformers' own filters, and the probabilities; apart from who else is drawn for."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from reference.pipeline.sampling import UNIFORM_BITS, mask_stop_tokens, sample, top_k_top_p, uniform
from reference.scheduling.batch import ScheduleBatch
from reference.scheduling.request import Request, SamplingSpec


def logits(rows: int, vocabulary: int, seed: int = 0, ties: bool = False) -> Tensor:
    made = torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed)) * 3
    return made.round() if ties else made


@pytest.mark.parametrize("top_k", [0, 1, 5, 300])
@pytest.mark.parametrize("top_p", [1e-6, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
def test_the_filters_are_those_of_transformers(temperature: float, top_k: int, top_p: float) -> None:
    from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    warpers = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    if top_k:
        warpers.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        warpers.append(TopPLogitsWarper(top_p))
    given_BV = logits(20, 257)
    ours = top_k_top_p(given_BV, [SamplingSpec(temperature=temperature, top_k=top_k, top_p=top_p)] * 20)
    theirs = warpers(torch.zeros(20, 1, dtype=torch.int64), given_BV)
    assert torch.equal(ours.isfinite(), theirs.isfinite())
    torch.testing.assert_close(ours.softmax(-1), theirs.softmax(-1))


def test_equally_likely_tokens_are_kept_or_dropped_together() -> None:
    tied = torch.tensor([[1.0, 2.0, 2.0, 2.0, 0.0, 2.0]])
    for sampling in (SamplingSpec(temperature=1, top_k=2), SamplingSpec(temperature=1, top_p=0.3)):
        kept = top_k_top_p(tied, [sampling]).isfinite()
        assert kept.tolist() == [[False, True, True, True, False, True]]


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingSpec(temperature=1.0),
        SamplingSpec(temperature=0.7, top_k=4),
        SamplingSpec(temperature=1.5, top_p=0.8),
        SamplingSpec(temperature=1.0, top_k=6, top_p=0.7),
    ],
)
def test_tokens_are_as_frequent_as_they_are_likely(sampling: SamplingSpec) -> None:
    """A chi-square test over 20,000 draws with fixed seeds."""
    from scipy.stats import chisquare

    given_V, draws = logits(1, 12, seed=3), 20_000
    numbers = [uniform(5, position) for position in range(draws)]
    drawn = Counter(sample(given_V.expand(draws, -1), [sampling] * draws, numbers).tolist())
    expected = top_k_top_p(given_V, [sampling]).double().softmax(-1)[0] * draws
    kept = [token for token in range(12) if expected[token] > 0]
    assert set(drawn) <= set(kept)
    assert chisquare([drawn[token] for token in kept], [float(expected[token]) for token in kept]).pvalue > 0.001


@given(st.data())
def test_a_token_depends_on_its_own_row_only(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 6))
    samplings = [
        SamplingSpec(
            temperature=data.draw(st.floats(0.01, 5)),
            top_k=data.draw(st.integers(0, 40)),
            top_p=data.draw(st.floats(0.01, 1)),
        )
        for _ in range(rows)
    ]
    numbers = [uniform(data.draw(st.integers(0, 99)), row) for row in range(rows)]
    given_BV = logits(rows, 33, seed=data.draw(st.integers(0, 50)), ties=data.draw(st.booleans()))
    together = sample(given_BV, samplings, numbers).tolist()
    alone = [int(sample(given_BV[row : row + 1], [samplings[row]], [numbers[row]])) for row in range(rows)]
    assert together == alone


@pytest.mark.parametrize("number", [0.0, 0.5, 1 - 2.0**-UNIFORM_BITS])
def test_no_token_outside_of_the_filter_is_ever_drawn(number: float) -> None:
    for seed in range(50):
        given_V = logits(1, 1000, seed=seed)
        best = set(given_V.topk(3).indices[0].tolist())
        assert int(sample(given_V, [SamplingSpec(temperature=2.0, top_k=3)], [number])) in best


@pytest.mark.parametrize("temperature", [1e-5, 1e-3, 1e5, 1e29])
def test_extreme_temperatures_give_a_token(temperature: float) -> None:
    given_V = logits(1, 50) * 100
    token = int(sample(given_V, [SamplingSpec(temperature=temperature)], [0.5]))
    if temperature < 1:
        assert token == int(given_V.argmax())
    else:
        assert token in (24, 25)  # all are equally likely


def test_numbers_are_uniform_and_follow_from_seed_and_position() -> None:
    from scipy.stats import kstest

    numbers = [uniform(seed, position) for seed in range(40) for position in range(50)]
    assert all(0 <= number < 1 for number in numbers)
    assert len(set(numbers)) > 1990
    assert kstest(numbers, "uniform").pvalue > 0.01
    assert uniform(7, 3) == uniform(7, 3) != uniform(3, 7)
    assert math.isclose(uniform(-(2**63), 0), uniform(-(2**63), 0))


def test_stops_are_held_back_for_those_alone_who_ask() -> None:
    """Of three decode steps: before the least number of tokens, at it, and of a request that asks for none."""
    asking = Request(id=0, prompt=(1, 2), max_new_tokens=9, min_new_tokens=3, stop=(4, 1000))
    requests = (asking, asking, Request(id=2, prompt=(1,), max_new_tokens=9, stop=(4,)))
    batch = ScheduleBatch(requests=requests, rows=(0, 1, 2), starts=(3, 4, 1), tokens=((5,),) * 3, lengths=(1,) * 3)
    given = logits(3, 12)
    before = given.clone()
    held = mask_stop_tokens(given, batch)
    assert torch.equal(given, before), "the model's own log-probabilities come from these"
    assert (held != given).nonzero().tolist() == [[0, 4]] and held[0, 4] == -math.inf
