"""The scheduler alone: admission, decoding, finishing, aborts, and that copies of it never disagree."""

from dataclasses import replace
from typing import Any

import pytest

from reference.scheduling.batch import SCORED_CHUNK, BatchLogprobs, ScheduleBatch
from reference.scheduling.request import NewToken, SchedulerInput, TokenLogprob
from reference.scheduling.scheduler import Scheduler
from tests.reference.small_ring import ask, scheduler


def ids(batch: ScheduleBatch | None) -> tuple[int, ...]:
    return () if batch is None else batch.ids


def step(ours: Scheduler, slot: int = 0, token: int = 5) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Forms and finishes a slot once: whose tokens went in, and how many of each."""
    batch = ours.schedule(slot)
    if batch is None:
        return (), ()
    ours.process_output(slot, [token] * len(batch.requests), BatchLogprobs(prompt=[[]] * len(batch.requests)))
    return batch.ids, batch.lengths


def test_a_request_is_prefilled_then_decoded_then_gone() -> None:
    ours = scheduler(slots=1)
    ours.add([ask(7, length=3, new=2)])
    batch = ours.schedule(0)
    assert batch == ScheduleBatch(requests=(ask(7),), rows=(0,), starts=(0,), tokens=((0, 1, 2),), lengths=(3,))
    assert ours.process_output(0, [40]) == [NewToken(request=7, token=40)]
    batch = ours.schedule(0)
    assert batch == ScheduleBatch(requests=(ask(7),), rows=(0,), starts=(3,), tokens=((40,),), lengths=(1,))
    assert ours.process_output(0, [41]) == [NewToken(request=7, token=41, reason="length")]
    assert ours.idle
    assert ours.schedule(0) is None


def test_a_stop_token_ends_a_request_and_is_given_out() -> None:
    ours = scheduler(slots=1)
    ours.add([ask(0, new=5, stop=(9,)), ask(1, new=5)])
    assert ids(ours.schedule(0)) == (0, 1)
    assert ours.process_output(0, [9, 9]) == [NewToken(request=0, token=9, reason="stop"), NewToken(request=1, token=9)]
    assert ids(ours.schedule(0)) == (1,)


def test_a_prefill_is_padded_to_its_longest() -> None:
    ours = scheduler(slots=1)
    ours.add([ask(0, length=2), ask(1, length=4)])
    batch = ours.schedule(0)
    assert (batch.shape, batch.lengths) == ((2, 4), (2, 4))
    assert batch.padded() == [[0, 1, 0, 0], [0, 1, 2, 3]]


@pytest.mark.parametrize(
    ("fill", "shares"),
    [("spread", [(0, 1, 2), (3, 4), (5, 6)]), ("pack", [(0, 1, 2, 3), (4, 5, 6), ()])],
)
def test_waiting_requests_are_shared_among_slots(fill: Any, shares: list[tuple[int, ...]]) -> None:
    ours = scheduler(slots=3, rows=12, fill=fill)
    ours.add([ask(number) for number in range(7)])
    assert [ids(ours.schedule(slot)) for slot in range(3)] == shares


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
    assert ids(ours.schedule(0)) == (0, 1)
    assert ours.schedule(1).rows == (2,)
    ours.process_output(0, [0, 0])
    assert ours.schedule(0).rows == (0, 1)  # used again
    ours.process_output(1, [0])
    assert ours.schedule(1) is None  # nobody waits
    assert not ours.idle
    ours.process_output(0, [0, 0])
    assert ours.idle


def test_rows_are_shared_out_evenly_when_they_are_few() -> None:
    ours = scheduler(slots=2, max_batch=2, rows=2)
    ours.add([ask(0), ask(1), ask(2), ask(3)])
    assert ids(ours.schedule(0)) == (0,)
    assert ids(ours.schedule(1)) == (1,)


def test_without_a_free_row_a_slot_stays_empty() -> None:
    ours = scheduler(slots=2, max_batch=2, rows=2, fill="pack")
    ours.add([ask(0), ask(1), ask(2), ask(3)])
    assert ids(ours.schedule(0)) == (0, 1)
    assert ours.schedule(1) is None


def test_a_slot_keeps_to_neighbouring_rows() -> None:
    ours = scheduler(slots=2, max_batch=4, rows=8)
    ours.add([ask(number, new=9) for number in range(4)])
    assert [ours.schedule(slot).rows for slot in range(2)] == [(0, 1), (4, 5)]


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
    ours.schedule(0)
    assert ours.process_output(0, [99]) == []
    assert ours.schedule(0).starts == (4,)
    assert ours.process_output(0, [7]) == [NewToken(request=0, token=7, reason="length")]


def test_padding_counts_in_a_chunk() -> None:
    ours = scheduler(slots=1, chunk=12)
    ours.add([ask(0, length=2), ask(1, length=6), ask(2, length=1), ask(3, length=4)])
    assert [step(ours)[1] for _ in range(3)] == [(2, 6), (1, 1), (1, 4)]


def test_a_prompt_whose_logprobs_are_wanted_comes_in_small_chunks() -> None:
    ours = scheduler(slots=1, chunk=2000)
    first = SCORED_CHUNK * 2
    ours.add([replace(ask(0, length=SCORED_CHUNK * 3 + 8), prompt_logprobs_from=first + 1)])
    assert step(ours) == ((0,), (first,))
    batch = ours.schedule(0)
    assert (batch.ids, batch.scored, batch.lengths) == ((0,), True, (SCORED_CHUNK,))
    assert batch.targets(0) == tuple(range(first + 1, first + SCORED_CHUNK + 1))
    ours.process_output(0, [0], BatchLogprobs(prompt=[[TokenLogprob(token=1, logprob=-1.0)]]))
    batch = ours.schedule(0)
    assert (batch.scored, batch.lengths, len(batch.targets(0))) == (True, (8,), 7)  # the last predicts a new token
    (token,) = ours.process_output(0, [0], BatchLogprobs(prompt=[[TokenLogprob(token=2, logprob=-2.0)]]))
    assert [item.token for item in token.prompt_logprobs] == [1, 2]


def test_an_abort_in_the_queue_takes_effect_at_once() -> None:
    ours = scheduler(slots=1)
    ours.apply(SchedulerInput(requests=(ask(0), ask(1)), aborts=(0, 99)))
    assert ids(ours.schedule(0)) == (1,)


def test_an_abort_in_flight_takes_effect_when_the_batch_is_back() -> None:
    ours = scheduler(slots=1)
    ours.add([ask(0), ask(1)])
    ours.schedule(0)
    ours.abort([0])
    assert ours.process_output(0, [5, 6]) == [NewToken(request=1, token=6)]
    assert ids(ours.schedule(0)) == (1,)


def test_an_abort_between_two_batches_frees_the_row() -> None:
    ours = scheduler(slots=1, rows=1, max_batch=1)
    ours.add([ask(0), ask(1)])
    ours.schedule(0)
    ours.process_output(0, [5])
    ours.abort([0])
    assert ids(ours.schedule(0)) == (1,)


def test_after_a_stop_only_what_is_in_flight_comes_back() -> None:
    ours = scheduler(slots=2)
    ours.add([ask(0), ask(1)])
    ours.schedule(0)
    ours.apply(SchedulerInput(requests=(ask(2),), stop=True))
    assert ours.schedule(1) is None
    assert ours.process_output(0, [5]) == []
    assert ours.idle


def test_an_id_can_be_used_again_only_after_its_request_is_finished() -> None:
    ours = scheduler(slots=1)
    ours.add([ask(0, new=1)])
    with pytest.raises(ValueError, match="id 0 is in use"):
        ours.add([ask(0)])
    ours.schedule(0)
    ours.process_output(0, [1])
    ours.add([ask(0)])


@pytest.mark.parametrize("name", ["slots", "max_batch", "rows", "chunk"])
def test_sizes_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0"):
        scheduler(**{name: 0})


def test_scored_prompts_and_others_are_no_batch() -> None:
    ours = scheduler(slots=1)
    ours.add([replace(ask(0), prompt_logprobs_from=0), replace(ask(1), prompt_logprobs_from=1), ask(2)])
    assert [step(ours)[0] for _ in range(3)] == [(0, 1), (0, 1), (2,)]
