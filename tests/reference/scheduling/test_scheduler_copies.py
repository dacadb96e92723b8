"""Schedulers of several ranks: copies that never talk and never disagree, over a stand-in for the model."""

from dataclasses import replace
from itertools import count, groupby
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reference.scheduling.request import NewToken, Request, SchedulerInput
from reference.scheduling.scheduler import Scheduler
from tests.reference.small_ring import alone, ask, prompt_scores, ring, run, scheduler

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
@given(
    data=st.data(),
    grid=st.tuples(st.integers(1, 4), st.integers(0, 2), st.just(False)) | st.just((1, 0, True)),
    sizes=SIZES,
    stop_early=st.booleans(),
)
def test_every_request_gets_exactly_its_own_tokens(
    data: st.DataObject, grid: tuple[int, int, bool], sizes: dict[str, Any], stop_early: bool
) -> None:
    """The real loop on P ranks, with requests and aborts at any moment; the ranks must form the same batches. A rank
    that is alone may launch decode steps ahead."""
    ranks, depth, overlap = grid
    numbers, requests, aborted = count(), dict[int, Request](), set[int]()
    polls = count()

    def poll() -> SchedulerInput:
        """Rank 0's clients: busy for a while, then they wait for the rest, then they leave."""
        finished = {token.request for token in ranks_[0].tokens if token.reason is not None}
        if next(polls) >= 20:
            assert next(polls) < 4000, "it does not come to an end"
            return SchedulerInput(stop=stop_early or ranks_[0].scheduler.idle)
        new = []
        for fields in data.draw(st.lists(REQUESTS, max_size=2)):
            request = Request(id=next(numbers), **fields)
            if (request.prompt_logprobs_from or 0) >= len(request.prompt):
                request = replace(request, prompt_logprobs_from=None)
            requests[request.id] = request
            new.append(request)
        gone = data.draw(st.sets(st.sampled_from(sorted(requests)), max_size=2)) if requests else set()
        aborted.update(gone - finished)
        return SchedulerInput(requests=tuple(new), aborts=tuple(sorted(gone)))

    ranks_ = ring(ranks, depth, poll, lambda: Scheduler(slots=ranks + depth, **sizes), overlap)
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


def _request(token: NewToken) -> int:
    return token.request


def test_many_requests_on_few_rows_all_come_through() -> None:
    """Forty at once on three rows of two slots: nobody is forgotten, and first come are first served."""
    requests = tuple(ask(number, length=1 + number % 5, new=1 + number % 4) for number in range(40))
    told = iter([SchedulerInput(requests=requests)])
    ranks_ = ring(
        2, 0, lambda: next(told, SchedulerInput(stop=ranks_[0].scheduler.idle)), lambda: scheduler(rows=3, chunk=4)
    )
    run(ranks_)
    firsts = list(dict.fromkeys(token.request for token in ranks_[0].tokens))
    assert sorted(firsts) == list(range(40))
    assert max(abs(place - number) for place, number in enumerate(firsts)) <= 4
    assert len(ranks_[0].tokens) == sum(request.max_new_tokens for request in requests)
