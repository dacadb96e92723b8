"""The scheduler alone: admission, decoding, finishing, aborts, and that copies of it never disagree."""

import json
from dataclasses import replace
from typing import Any

import pytest

from reference.llama.config import SHAPES
from reference.scheduling.batch import SCORED_CHUNK, Batch, Scores
from reference.scheduling.request import (
    Arrivals,
    Request,
    Sampling,
    Scored,
    Token,
    check_request,
    decode_arrivals,
    decode_tokens,
    encode_tokens,
)
from reference.scheduling.scheduler import Scheduler
from tests.reference.small_ring import ask, scheduler

SHAPE = replace(SHAPES["tiny"], vocab_size=97)


def ids(batch: Batch | None) -> tuple[int, ...]:
    return () if batch is None else batch.ids


def step(ours: Scheduler, slot: int = 0, token: int = 5) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Forms and finishes a slot once: whose tokens went in, and how many of each."""
    batch = ours.form(slot)
    if batch is None:
        return (), ()
    ours.finish(slot, [token] * len(batch.requests), Scores(prompt=[[]] * len(batch.requests)))
    return batch.ids, batch.lengths


def test_a_request_is_prefilled_then_decoded_then_gone() -> None:
    ours = scheduler(slots=1)
    ours.add([ask(7, length=3, new=2)])
    batch = ours.form(0)
    assert batch == Batch(requests=(ask(7),), rows=(0,), starts=(0,), tokens=((0, 1, 2),), lengths=(3,))
    assert ours.finish(0, [40]) == [Token(request=7, token=40)]
    batch = ours.form(0)
    assert batch == Batch(requests=(ask(7),), rows=(0,), starts=(3,), tokens=((40,),), lengths=(1,))
    assert ours.finish(0, [41]) == [Token(request=7, token=41, reason="length")]
    assert ours.idle
    assert ours.form(0) is None


def test_a_stop_token_ends_a_request_and_is_given_out() -> None:
    ours = scheduler(slots=1)
    ours.add([ask(0, new=5, stop=(9,)), ask(1, new=5)])
    assert ids(ours.form(0)) == (0, 1)
    assert ours.finish(0, [9, 9]) == [Token(request=0, token=9, reason="stop"), Token(request=1, token=9)]
    assert ids(ours.form(0)) == (1,)


def test_a_prefill_is_padded_to_its_longest() -> None:
    ours = scheduler(slots=1)
    ours.add([ask(0, length=2), ask(1, length=4)])
    batch = ours.form(0)
    assert (batch.shape, batch.lengths) == ((2, 4), (2, 4))
    assert batch.padded() == [[0, 1, 0, 0], [0, 1, 2, 3]]


@pytest.mark.parametrize(
    ("fill", "shares"),
    [("spread", [(0, 1, 2), (3, 4), (5, 6)]), ("pack", [(0, 1, 2, 3), (4, 5, 6), ()])],
)
def test_waiting_requests_are_shared_among_slots(fill: Any, shares: list[tuple[int, ...]]) -> None:
    ours = scheduler(slots=3, rows=12, fill=fill)
    ours.add([ask(number) for number in range(7)])
    assert [ids(ours.form(slot)) for slot in range(3)] == shares


def test_latecomers_go_to_the_emptier_slot() -> None:
    ours = scheduler(slots=2, max_batch=4, rows=8)
    ours.add([ask(0, new=9), ask(1, new=9), ask(2, new=9)])
    assert (step(ours, 0)[0], step(ours, 1)[0]) == ((0, 1), (2,))
    ours.add([ask(3, new=9)])
    assert step(ours, 0)[0] == (0, 1)
    assert [step(ours, 1)[0] for _ in range(3)] == [(2,), (3,), (2, 3)]


def test_max_batch_and_rows_bound_admission() -> None:
    ours = scheduler(slots=2, max_batch=2, rows=3)
    ours.add([ask(number, new=1) for number in range(5)])
    assert ids(ours.form(0)) == (0, 1)
    assert ours.form(1).rows == (2,)
    ours.finish(0, [0, 0])
    assert ours.form(0).rows == (0, 1)  # used again
    ours.finish(1, [0])
    assert ours.form(1) is None  # nobody waits
    assert not ours.idle
    ours.finish(0, [0, 0])
    assert ours.idle


def test_rows_are_shared_out_evenly_when_they_are_few() -> None:
    ours = scheduler(slots=2, max_batch=2, rows=2)
    ours.add([ask(0), ask(1), ask(2), ask(3)])
    assert ids(ours.form(0)) == (0,)
    assert ids(ours.form(1)) == (1,)


def test_without_a_free_row_a_slot_stays_empty() -> None:
    ours = scheduler(slots=2, max_batch=2, rows=2, fill="pack")
    ours.add([ask(0), ask(1), ask(2), ask(3)])
    assert ids(ours.form(0)) == (0, 1)
    assert ours.form(1) is None


def test_a_slot_keeps_to_neighbouring_rows() -> None:
    ours = scheduler(slots=2, max_batch=4, rows=8)
    ours.add([ask(number, new=9) for number in range(4)])
    assert [ours.form(slot).rows for slot in range(2)] == [(0, 1), (4, 5)]


def test_a_request_joins_while_others_decode() -> None:
    ours = scheduler(slots=1)
    ours.add([ask(0, new=9)])
    assert step(ours) == ((0,), (3,))
    ours.add([ask(1, new=9, length=2)])
    assert step(ours) == ((0,), (1,))  # a prefill was before, so it is the turn of those who decode
    assert step(ours) == ((1,), (2,))
    assert step(ours) == ((0, 1), (1, 1))


def test_a_long_prompt_comes_in_chunks_and_the_others_go_on_between_them() -> None:
    ours = scheduler(slots=1, chunk=4)
    ours.add([ask(0, new=9)])
    step(ours)
    ours.add([ask(1, length=10, new=9)])
    done = [step(ours) for _ in range(7)]
    assert done == [
        *[((0,), (1,)), ((1,), (4,))],
        *[((0,), (1,)), ((1,), (4,))],
        *[((0,), (1,)), ((1,), (2,))],
        ((0, 1), (1, 1)),
    ]


def test_a_chunk_that_does_not_end_its_prompt_gives_no_token() -> None:
    ours = scheduler(slots=1, chunk=4)
    ours.add([ask(0, length=6, new=1)])
    ours.form(0)
    assert ours.finish(0, [99]) == []
    assert ours.form(0).starts == (4,)
    assert ours.finish(0, [7]) == [Token(request=0, token=7, reason="length")]


def test_padding_counts_in_a_chunk() -> None:
    ours = scheduler(slots=1, chunk=12)
    ours.add([ask(0, length=2), ask(1, length=6), ask(2, length=1), ask(3, length=4)])
    assert [step(ours)[1] for _ in range(3)] == [(2, 6), (1, 1), (1, 4)]


def test_a_prompt_whose_logprobs_are_wanted_comes_in_small_chunks() -> None:
    ours = scheduler(slots=1, chunk=2000)
    first = SCORED_CHUNK * 2
    ours.add([replace(ask(0, length=SCORED_CHUNK * 3 + 8), prompt_logprobs_from=first + 1)])
    assert step(ours) == ((0,), (first,))
    batch = ours.form(0)
    assert (batch.ids, batch.scored, batch.lengths) == ((0,), True, (SCORED_CHUNK,))
    assert batch.targets(0) == tuple(range(first + 1, first + SCORED_CHUNK + 1))
    ours.finish(0, [0], Scores(prompt=[[Scored(token=1, logprob=-1.0)]]))
    batch = ours.form(0)
    assert (batch.scored, batch.lengths, len(batch.targets(0))) == (True, (8,), 7)  # the last predicts a new token
    (token,) = ours.finish(0, [0], Scores(prompt=[[Scored(token=2, logprob=-2.0)]]))
    assert [item.token for item in token.prompt_logprobs] == [1, 2]


def test_an_abort_in_the_queue_takes_effect_at_once() -> None:
    ours = scheduler(slots=1)
    ours.take(Arrivals(requests=(ask(0), ask(1)), aborts=(0, 99)))
    assert ids(ours.form(0)) == (1,)


def test_an_abort_in_flight_takes_effect_when_the_batch_is_back() -> None:
    ours = scheduler(slots=1)
    ours.add([ask(0), ask(1)])
    ours.form(0)
    ours.abort([0])
    assert ours.finish(0, [5, 6]) == [Token(request=1, token=6)]
    assert ids(ours.form(0)) == (1,)


def test_an_abort_between_two_batches_frees_the_row() -> None:
    ours = scheduler(slots=1, rows=1, max_batch=1)
    ours.add([ask(0), ask(1)])
    ours.form(0)
    ours.finish(0, [5])
    ours.abort([0])
    assert ids(ours.form(0)) == (1,)


def test_after_a_stop_only_what_is_in_flight_comes_back() -> None:
    ours = scheduler(slots=2)
    ours.add([ask(0), ask(1)])
    ours.form(0)
    ours.take(Arrivals(requests=(ask(2),), stop=True))
    assert ours.form(1) is None
    assert ours.finish(0, [5]) == []
    assert ours.idle


def test_an_id_can_be_used_again_only_after_its_request_is_finished() -> None:
    ours = scheduler(slots=1)
    ours.add([ask(0, new=1)])
    with pytest.raises(ValueError, match="id 0 is in use"):
        ours.add([ask(0)])
    ours.form(0)
    ours.finish(0, [1])
    ours.add([ask(0)])


@pytest.mark.parametrize("name", ["slots", "max_batch", "rows", "chunk"])
def test_sizes_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0"):
        scheduler(**{name: 0})


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(id=0, prompt=(), max_new_tokens=1), "the prompt is empty"),
        (Request(id=0, prompt=(1,), max_new_tokens=0), "max_new_tokens is 0"),
        (Request(id=0, prompt=(1,) * 9, max_new_tokens=2), r"make 11, more than the cache holds \(10\)"),
        (Request(id=0, prompt=(1, 97), max_new_tokens=1), "token 97 of the prompt is not in the vocabulary"),
        (Request(id=0, prompt=(-1,), max_new_tokens=1), "token -1 of the prompt"),
        (Request(id=0, prompt=(1,), max_new_tokens=1, top_logprobs=98), "top_logprobs is 98; the vocabulary has 97"),
        (
            Request(id=0, prompt=(1,), max_new_tokens=1, prompt_logprobs_from=1),
            "from position 1 of the prompt on, which has 1 tokens",
        ),
    ],
)
def test_what_cannot_be_served_is_refused(request_: Request, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_request(request_, max_len=10, shape=SHAPE)


def test_a_request_that_just_fits_is_accepted() -> None:
    check_request(Request(id=0, prompt=(96,) * 9, max_new_tokens=1), max_len=10, shape=SHAPE)


@pytest.mark.parametrize(
    ("max_len", "remedy"),
    [(10, "ask for fewer, or raise max_len$"), (512, "ask for fewer: the model has 512 positions$")],
)
def test_a_longer_cache_is_offered_only_where_the_model_has_the_positions(max_len: int, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        check_request(Request(id=0, prompt=(1,), max_new_tokens=512), max_len=max_len, shape=SHAPE)


def test_arrivals_travel() -> None:
    sampling = Sampling(temperature=0.5, top_k=3, top_p=0.9, seed=-(2**63))
    request = replace(ask(3, stop=(1, 2)), sampling=sampling, logprobs=True, top_logprobs=2, prompt_logprobs_from=0)
    something = Arrivals(requests=(request,), aborts=(4,), stop=True)
    assert decode_arrivals(something.encode()) == something
    assert Arrivals().encode() == b""
    assert decode_arrivals(b"") == Arrivals()
    assert Arrivals(requests=(ask(1),)) + Arrivals(aborts=(1,)) == Arrivals(requests=(ask(1),), aborts=(1,))


@pytest.mark.parametrize("data", [[], {"requests": [{"id": 1, "speed": 2}]}, {"surprise": 1}])
def test_other_arrivals_are_refused(data: object) -> None:
    with pytest.raises(ValueError, match="its fields are"):
        decode_arrivals(json.dumps(data).encode())


def test_tokens_travel() -> None:
    scored = (Scored(token=3, logprob=None), Scored(token=4, logprob=-0.1, top=((4, -0.1), (5, -2.5))))
    tokens = [
        Token(request=1, token=2),
        Token(request=2, token=0, reason="stop", logprob=-1.5, top=((0, -1.5),)),
        Token(request=3, token=1, prompt_logprobs=scored),
    ]
    assert decode_tokens(json.loads(json.dumps(encode_tokens(tokens)))) == tokens


def test_scored_prompts_and_others_are_no_batch() -> None:
    ours = scheduler(slots=1)
    ours.add([replace(ask(0), prompt_logprobs_from=0), replace(ask(1), prompt_logprobs_from=1), ask(2)])
    assert [step(ours)[0] for _ in range(3)] == [(0, 1), (0, 1), (2,)]
