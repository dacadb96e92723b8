"""The scheduler alone: admission, decoding, finishing, aborts, and that copies of it never disagree."""

import json
from dataclasses import replace
from itertools import count, groupby
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.batch import SCORED_CHUNK, Batch, Scores
from reference.requests import (
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
from reference.scheduler import Scheduler
from tests.reference.small_ring import alone, prompt_scores, ring, run


def ask(number: int, length: int = 3, new: int = 2, stop: tuple[int, ...] = ()) -> Request:
    return Request(id=number, prompt=tuple(range(length)), max_new_tokens=new, stop=stop)


def scheduler(*, slots: int = 2, max_batch: int = 4, rows: int = 8, **options: Any) -> Scheduler:
    return Scheduler(slots=slots, max_batch=max_batch, rows=rows, **options)


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
        (Request(id=0, prompt=(1,), max_new_tokens=1, prompt_logprobs_from=1), "prompt_logprobs_from is 1"),
    ],
)
def test_what_cannot_be_served_is_refused(request_: Request, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_request(request_, max_len=10, vocabulary=97)


def test_a_request_that_just_fits_is_accepted() -> None:
    check_request(Request(id=0, prompt=(96,) * 9, max_new_tokens=1), max_len=10, vocabulary=97)


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


REQUESTS = st.builds(
    dict,
    prompt=st.lists(st.integers(0, 10), min_size=1, max_size=9).map(tuple),
    max_new_tokens=st.integers(1, 6),
    stop=st.sampled_from([(), (0,), (1, 2)]),
    prompt_logprobs_from=st.none() | st.integers(0, 8),
)
SIZES = st.fixed_dictionaries(
    {
        "max_batch": st.integers(1, 3),
        "rows": st.integers(1, 8),
        "chunk": st.integers(1, 20),
        "fill": st.sampled_from(["spread", "pack"]),
    }
)


@settings(max_examples=120)
@given(data=st.data(), ranks=st.integers(1, 4), depth=st.integers(0, 2), sizes=SIZES, stop_early=st.booleans())
def test_every_request_gets_exactly_its_own_tokens(
    data: st.DataObject, ranks: int, depth: int, sizes: dict[str, Any], stop_early: bool
) -> None:
    """The real loop on P ranks, with requests and aborts at any moment; the ranks must form the same batches."""
    numbers, requests, aborted = count(), dict[int, Request](), set[int]()
    polls = count()

    def poll() -> Arrivals:
        """Rank 0's clients: busy for a while, then they wait for the rest, then they leave."""
        finished = {token.request for token in ranks_[0].tokens if token.reason is not None}
        if next(polls) >= 20:
            assert next(polls) < 4000, "it does not come to an end"
            return Arrivals(stop=stop_early or ranks_[0].scheduler.idle)
        new = []
        for fields in data.draw(st.lists(REQUESTS, max_size=2)):
            request = Request(id=next(numbers), **fields)
            if (request.prompt_logprobs_from or 0) >= len(request.prompt):
                request = replace(request, prompt_logprobs_from=None)
            requests[request.id] = request
            new.append(request)
        gone = data.draw(st.sets(st.sampled_from(sorted(requests)), max_size=2)) if requests else set()
        aborted.update(gone - finished)
        return Arrivals(requests=tuple(new), aborts=tuple(sorted(gone)))

    ranks_ = ring(ranks, depth, poll, lambda: Scheduler(slots=ranks + depth, **sizes))
    run(ranks_)

    first = ranks_[0]
    for rank in ranks_:
        assert rank.scheduler.idle  # and every row is free: the scheduler asserts it
        assert (rank.formed, rank.tokens) == (first.formed, first.tokens)
    for at, batch in enumerate(first.formed):
        if batch is not None:
            area = len(batch.rows) * max(batch.lengths)
            prefill = [start < len(request.prompt) for start, request in zip(batch.starts, batch.requests, strict=True)]
            assert len(set(prefill)) == 1, "prompts beside those that decode"
            assert len(batch.rows) <= sizes["max_batch"] and (area <= sizes["chunk"] or not prefill[0])
            assert batch.rows == tuple(sorted(batch.rows))
            beside = [row for other in first.formed[at : at + ranks + depth] if other is not None for row in other.rows]
            assert len(beside) == len(set(beside)) <= sizes["rows"], "two requests share a row"
    got = {number: list(tokens) for number, tokens in groupby(sorted(first.tokens, key=_request), key=_request)}
    for number, request in requests.items():
        whole, tokens = alone(request), got.get(number, [])
        assert [token.token for token in tokens] == whole[: len(tokens)]
        assert all(token.reason is None for token in tokens[:-1]), "a token after the last one"
        assert not any(token.prompt_logprobs for token in tokens[1:])
        if tokens:
            assert tokens[0].prompt_logprobs == prompt_scores(request)
        if number not in aborted and not stop_early:
            assert len(tokens) == len(whole)
            assert tokens[-1].reason == ("stop" if whole[-1] in request.stop else "length")


def _request(token: Token) -> int:
    return token.request


def test_many_requests_on_few_rows_all_come_through() -> None:
    """Forty at once on three rows of two slots: nobody is forgotten, and first come are first served."""
    requests = tuple(ask(number, length=1 + number % 5, new=1 + number % 4) for number in range(40))
    told = iter([Arrivals(requests=requests)])
    ranks_ = ring(2, 0, lambda: next(told, Arrivals(stop=ranks_[0].scheduler.idle)), lambda: scheduler(rows=3, chunk=4))
    run(ranks_)
    firsts = list(dict.fromkeys(token.request for token in ranks_[0].tokens))
    assert sorted(firsts) == list(range(40))
    assert max(abs(place - number) for place, number in enumerate(firsts)) <= 4
    assert len(ranks_[0].tokens) == sum(request.max_new_tokens for request in requests)
