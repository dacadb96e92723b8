"""The scheduler alone: admission, decoding, finishing, aborts, and that copies of it never disagree."""

import json
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.requests import (
    Arrivals,
    Request,
    Token,
    check_request,
    decode_arrivals,
    decode_tokens,
    encode_tokens,
)
from reference.scheduler import Batch, Scheduler


def ask(number: int, length: int = 3, new: int = 2, stop: tuple[int, ...] = ()) -> Request:
    return Request(id=number, prompt=tuple(range(length)), max_new_tokens=new, stop=stop)


def scheduler(*, slots: int = 2, max_batch: int = 4, rows: int = 8) -> Scheduler:
    return Scheduler(slots=slots, max_batch=max_batch, rows=rows)


def test_a_request_is_prefilled_then_decoded_then_gone() -> None:
    ours = scheduler(slots=1)
    ours.add([ask(7, length=3, new=2)])
    assert ours.form(0) == Batch(requests=(7,), rows=(0,), starts=(0,), tokens=((0, 1, 2),))
    assert ours.finish(0, [40]) == [Token(request=7, token=40)]
    assert ours.form(0) == Batch(requests=(7,), rows=(0,), starts=(3,), tokens=((40,),))
    assert ours.finish(0, [41]) == [Token(request=7, token=41, reason="length")]
    assert ours.idle
    assert ours.form(0) is None


def test_a_stop_token_ends_a_request_and_is_given_out() -> None:
    ours = scheduler(slots=1)
    ours.add([ask(0, new=5, stop=(9,)), ask(1, new=5)])
    assert ours.form(0).requests == (0, 1)
    assert ours.finish(0, [9, 9]) == [Token(request=0, token=9, reason="stop"), Token(request=1, token=9)]
    assert ours.form(0).requests == (1,)


def test_a_prefill_is_padded_to_its_longest() -> None:
    ours = scheduler(slots=1)
    ours.add([ask(0, length=2), ask(1, length=4)])
    batch = ours.form(0)
    assert (batch.shape, batch.lengths) == ((2, 4), (2, 4))
    assert batch.padded() == [[0, 1, 0, 0], [0, 1, 2, 3]]


def test_waiting_requests_are_shared_among_empty_slots() -> None:
    ours = scheduler(slots=3)
    ours.add([ask(number) for number in range(7)])
    assert [ours.form(slot).requests for slot in range(3)] == [(0, 1, 2), (3, 4), (5, 6)]


def test_max_batch_and_rows_bound_admission() -> None:
    ours = scheduler(slots=2, max_batch=2, rows=3)
    ours.add([ask(number, new=1) for number in range(5)])
    assert ours.form(0).requests == (0, 1)
    assert ours.form(1).rows == (2,)
    ours.finish(0, [0, 0])
    assert ours.form(0).rows == (0, 1)  # used again
    ours.finish(1, [0])
    assert ours.form(1) is None  # nobody waits
    assert not ours.idle
    ours.finish(0, [0, 0])
    assert ours.idle


def test_without_a_free_row_a_slot_stays_empty() -> None:
    ours = scheduler(slots=2, max_batch=2, rows=2)
    ours.add([ask(0), ask(1), ask(2), ask(3)])
    assert ours.form(0).requests == (0, 1)
    assert ours.form(1) is None


def test_an_abort_in_the_queue_takes_effect_at_once() -> None:
    ours = scheduler(slots=1)
    ours.take(Arrivals(requests=(ask(0), ask(1)), aborts=(0, 99)))
    assert ours.form(0).requests == (1,)


def test_an_abort_in_flight_takes_effect_when_the_batch_is_back() -> None:
    ours = scheduler(slots=1)
    ours.add([ask(0), ask(1)])
    ours.form(0)
    ours.abort([0])
    assert ours.finish(0, [5, 6]) == [Token(request=1, token=6)]
    assert ours.form(0).requests == (1,)


def test_an_abort_between_two_batches_frees_the_row() -> None:
    ours = scheduler(slots=1, rows=1, max_batch=1)
    ours.add([ask(0), ask(1)])
    ours.form(0)
    ours.finish(0, [5])
    ours.abort([0])
    assert ours.form(0).requests == (1,)


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


@pytest.mark.parametrize("name", ["slots", "max_batch", "rows"])
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
    ],
)
def test_what_cannot_be_served_is_refused(request_: Request, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_request(request_, max_len=10, vocabulary=97)


def test_a_request_that_just_fits_is_accepted() -> None:
    check_request(Request(id=0, prompt=(96,) * 9, max_new_tokens=1), max_len=10, vocabulary=97)


def test_arrivals_travel() -> None:
    something = Arrivals(requests=(ask(3, stop=(1, 2)),), aborts=(4,), stop=True)
    assert decode_arrivals(something.encode()) == something
    assert Arrivals().encode() == b""
    assert decode_arrivals(b"") == Arrivals()
    assert Arrivals(requests=(ask(1),)) + Arrivals(aborts=(1,)) == Arrivals(requests=(ask(1),), aborts=(1,))


@pytest.mark.parametrize("data", [[], {"requests": [{"id": 1, "speed": 2}]}, {"surprise": 1}])
def test_other_arrivals_are_refused(data: object) -> None:
    with pytest.raises(ValueError, match="its fields are"):
        decode_arrivals(json.dumps(data).encode())


def test_tokens_travel() -> None:
    tokens = [Token(request=1, token=2), Token(request=2, token=0, reason="stop")]
    assert decode_tokens(json.loads(json.dumps(encode_tokens(tokens)))) == tokens


def answer(request: int, position: int) -> int:
    """A stand-in for the model: the token after `position` tokens of a request, sometimes the stop token 0."""
    return (request * 7 + position * 3) % 11


def alone(request: Request) -> list[int]:
    """The tokens that the request gets from the stand-in."""
    tokens: list[int] = []
    while len(tokens) < request.max_new_tokens and (not tokens or tokens[-1] not in request.stop):
        tokens.append(answer(request.id, len(request.prompt) + len(tokens)))
    return tokens


@settings(max_examples=40)
@given(st.data())
def test_two_ranks_agree_and_every_request_gets_its_own_tokens(data: st.DataObject) -> None:
    """A pipeline in miniature: rank 1 is told everything later than rank 0, as far as the slots allow."""
    slots, max_batch = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    rows = data.draw(st.integers(1, 8))
    first, second = (Scheduler(slots=slots, max_batch=max_batch, rows=rows) for _ in range(2))
    numbers, requests, aborted = count(), {}, set()
    told: list[Arrivals] = []
    got: dict[int, list[int]] = {}
    reasons: dict[int, str | None] = {}
    batches: dict[int, Batch | None] = {}
    formed: list[Batch | None] = []

    def iterate(ours: Scheduler, iteration: int, flight: dict[int, Batch | None]) -> list[Token]:
        """One iteration of one rank, as in the serving loop; what its scheduler gives out."""
        slot, due = iteration % slots, (iteration + 1) % slots
        ours.take(told[iteration])
        flight[slot] = ours.form(slot)
        back = flight.pop(due, None)
        if back is None:
            return []
        ends = (start + length for start, length in zip(back.starts, back.lengths, strict=True))
        return ours.finish(due, [answer(request, end) for request, end in zip(back.requests, ends, strict=True)])

    for iteration in range(data.draw(st.integers(0, 25)) + 400):
        if iteration >= 25 and first.idle:
            break
        new: tuple[Request, ...] = ()
        gone: tuple[int, ...] = ()
        if iteration < 25:
            new = tuple(
                ask(next(numbers), length=length, new=tokens, stop=stop)
                for length, tokens, stop in data.draw(
                    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5), st.sampled_from([(), (0,)])), max_size=2)
                )
            )
            requests.update({request.id: request for request in new})
            gone = tuple(data.draw(st.sets(st.sampled_from(sorted(requests)), max_size=1)) if requests else ())
        aborted.update(number for number in gone if reasons.get(number) is None)
        told.append(Arrivals(requests=new, aborts=gone))
        tokens = iterate(first, iteration, batches)
        formed.append(batches.get(iteration % slots))
        running = [row for batch in batches.values() if batch is not None for row in batch.rows]
        assert len(running) == len(set(running)) <= rows
        for token in tokens:
            got.setdefault(token.request, []).append(token.token)
            assert reasons.get(token.request) is None, "a token after the last one"
            reasons[token.request] = token.reason

    assert first.idle
    for number, request in requests.items():
        whole = alone(request)
        if number in aborted:
            assert got.get(number, []) == whole[: len(got.get(number, []))]
        else:
            assert got[number] == whole
            assert reasons[number] == ("stop" if whole[-1] in request.stop else "length")

    theirs: dict[int, Batch | None] = {}
    for iteration, batch in enumerate(formed):
        iterate(second, iteration, theirs)
        if slots > 1:
            assert theirs.get(iteration % slots) == batch
    assert second.idle
