"""Recorded runs that the model allows, and known-bad ones that it must not."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from model.pipelines.serving import CONTROL, DATA, Phase
from model.program.ops import Recv, Send, Wait
from model.rings.orderings import NAMED
from model.traces.conformance import conform
from model.traces.jsonl import write
from model.traces.trace import Trace, TraceEvent
from tests.model.conftest import Inside
from tests.model.recordings import at, changed, plain, recording, without

runs = st.builds(
    recording,
    ranks=st.integers(1, 4),
    depth=st.integers(0, 2),
    policy=st.sampled_from(sorted(NAMED)),
    present=st.lists(st.booleans(), max_size=6),
    blocking=st.booleans(),
    seed=st.integers(0, 1000),
)


@given(runs)
def test_what_the_loop_did_is_allowed(trace: Trace) -> None:
    """To its end, or to where it hangs; and then the model says why."""
    found = conform(trace)
    assert found.allowed, str(found.violation)
    assert found.complete == trace.complete
    assert (found.deadlock is None) == trace.complete


@given(runs, st.data())
def test_the_beginning_of_a_run_is_allowed(trace: Trace, data: st.DataObject) -> None:
    assume(trace.events)
    event = data.draw(st.sampled_from(trace.events))
    assert conform(trace.until(event.begin)).allowed


@given(runs, st.data())
def test_a_step_left_out_or_done_twice_is_not_allowed(trace: Trace, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(trace.events) - 1))
    event = trace.events[place]
    last = [item for item in trace.events if item.rank == event.rank][-1]
    if event is not last or trace.complete:
        assert not conform(without(trace, place)).allowed
    assume(event.end is not None)
    twice = replace(trace, events=(*trace.events[: place + 1], event, *trace.events[place + 1 :]))
    assert not conform(twice).allowed


@given(runs, st.data())
def test_two_steps_swapped_are_not_allowed(trace: Trace, data: st.DataObject) -> None:
    """Also when their times are swapped with them."""
    rank = data.draw(st.integers(0, trace.ranks - 1))
    places = [place for place, item in enumerate(trace.events) if item.rank == rank and item.end is not None]
    assume(len(places) > 1)
    number = data.draw(st.integers(0, len(places) - 2))
    first, second = places[number], places[number + 1]
    one, other = trace.events[first], trace.events[second]
    swapped = changed(changed(trace, first, **_times(other, one)), second, **_times(one, other))
    assert not conform(swapped).allowed


def _times(what: TraceEvent, when: TraceEvent) -> dict[str, object]:
    found = {name: getattr(what, name) for name in ("iteration", "phase", "slot", "op", "answer")}
    return {**found, "begin": when.begin, "end": when.end}


SOUND = recording(ranks=3)


def test_a_sound_run_is_told_so() -> None:
    found = conform(SOUND)
    assert (found.allowed, found.complete, found.ranks, found.iterations) == (True, True, 3, 8)
    assert found.steps == len(SOUND.events) > 80


def test_a_missing_message_is_named() -> None:
    place = at(SOUND, 1, Phase.SEND_PROXY, 1)
    found = conform(without(SOUND, place)).violation
    assert found is not None
    assert (found.rank, found.iteration) == (1, SOUND.events[place].iteration + 1)
    assert "the loop does here, in iteration 1: send proxy, isend(2, request=1, tag=1, comm=data), slot 1" in found.why


def test_a_receive_that_was_over_before_its_send_is_named() -> None:
    """Its rank goes on at the old time, so each rank by itself is in order."""
    sends = (SOUND.events[at(SOUND, 0, Phase.SEND_REQUESTS, number)] for number in range(4))
    receives = (at(SOUND, 1, Phase.RECV_REQUESTS, number) for number in range(4))
    pairs = zip(sends, receives, strict=True)
    send, place = next(pair for pair in pairs if SOUND.events[pair[1]].begin < pair[0].begin - 1)
    early = changed(SOUND, place, end=send.begin - 1)
    found = conform(early).violation
    assert found is not None
    assert (found.rank, found.phase, found.op) == (1, "receive requests", "recv(0, comm=control)")
    assert (
        "it was over 0.001 us before the begin of step" in found.why
        and "of rank 0 (isend(1, request=0, nbytes=8, comm=control)" in found.why
    )


def test_a_wait_that_was_over_before_the_receive_was_posted_is_named() -> None:
    """gloo stores nothing: a send is not complete before its receive is posted."""
    place = at(SOUND, 0, Phase.WAIT)
    receive = SOUND.events[at(SOUND, 1, Phase.RECV_REQUESTS)]
    late = replace(
        SOUND,
        events=tuple(
            replace(item, begin=item.begin + 10**6, end=None if item.end is None else item.end + 10**6)
            if item.rank > 0
            else item
            for item in SOUND.events
        ),
    )
    found = conform(late).violation
    assert found is not None
    assert (found.rank, found.phase, found.step) == (0, "wait for send", _number(SOUND, place))
    assert f"step {_number(SOUND, SOUND.events.index(receive))} of rank 1 (recv(0, comm=control))" in found.why
    stored = {comm: "eager" for comm in (CONTROL, DATA)}
    other = conform(replace(late, semantics=stored)).violation
    assert other is not None and other.phase != "wait for send"


def _number(trace: Trace, place: int) -> int:
    return [index for index, item in enumerate(trace.events) if item.rank == trace.events[place].rank].index(place)


def test_an_isend_that_did_not_wait_contradicts_a_library_that_does() -> None:
    """Recorded where an isend returns at once, send-first finishes; declared rendezvous, it could not have."""
    run = recording(ranks=3, policy="send-first")
    assert run.complete and conform(run).allowed
    found = conform(replace(run, semantics={CONTROL: "gloo", DATA: "rendezvous"})).violation
    assert found is not None and found.op.startswith("isend") and "which comes first in every run" in found.why


def test_completions_that_wait_for_each_other_are_named() -> None:
    ring = [[(Send(peer=1 - rank), 0, 9), (Recv(peer=1 - rank), 10, 19)] for rank in range(2)]
    found = conform(plain(*ring)).violation
    assert found is not None
    assert found.why == "it was over, and cannot be: rank 0 -> rank 1 wait for each other in a circuit"
    assert conform(plain(*ring, semantics={"*": "eager"})).allowed


def test_another_ordering_is_not_allowed() -> None:
    found = conform(replace(SOUND, loop=replace(SOUND.loop, ordering="send-first"))).violation
    assert found is not None
    assert found.rank == 1 and "the loop does here" in found.why


def test_another_depth_is_not_allowed() -> None:
    assert not conform(replace(SOUND, loop=replace(SOUND.loop, depth=1))).allowed


def test_ranks_that_form_batches_apart_are_named() -> None:
    run = recording(ranks=2, present=())
    place = at(run, 1, Phase.FORM)
    found = conform(changed(run, place, answer=True)).violation
    assert found is not None
    assert (found.rank, found.phase, found.why) == (1, "form batch", "it is to form a batch, unlike a rank before it")


def test_an_answer_that_is_missing_is_named() -> None:
    found = conform(changed(SOUND, at(SOUND, 0, Phase.FORM), answer=None)).violation
    assert found is not None and found.why == "the trace does not say whether to form a batch"


def test_an_operation_too_many_at_the_end_is_named() -> None:
    extra = replace(SOUND.events[-1], begin=10**7, end=10**7 + 1)
    found = conform(replace(SOUND, events=(*SOUND.events, extra))).violation
    assert found is not None and found.why == "the loop had come to its end"


def test_a_step_after_one_that_never_ended_is_named() -> None:
    found = conform(changed(SOUND, 0, end=None)).violation
    assert found is not None and found.why == "the step before it was not over"


def test_a_trace_that_ends_early_is_no_complete_one() -> None:
    last = max(place for place, item in enumerate(SOUND.events) if item.rank == 2)
    found = conform(without(SOUND, last)).violation
    assert found is not None and found.rank == 2


def test_a_hang_is_allowed_as_a_beginning_and_its_circuit_named() -> None:
    run = recording(ranks=3, policy="send-first", blocking=True)
    assert not run.complete
    found = conform(run)
    assert found.allowed and found.deadlock is not None
    assert [(item.rank, item.waits_for) for item in found.deadlock.circuit] == [(0, (1,)), (1, (2,)), (2, (0,))]
    assert all(item.op.startswith("isend") for item in found.deadlock.circuit)


def test_a_hang_that_the_library_would_not_have_is_no_deadlock() -> None:
    run = recording(ranks=3, policy="send-first", blocking=True)
    found = conform(replace(run, semantics={CONTROL: "gloo", DATA: "gloo"}))
    assert found.allowed and found.deadlock is None


def test_times_of_different_clocks_are_not_compared() -> None:
    ahead = tuple(
        item if item.rank != 1 else replace(item, begin=item.begin + 10**9, end=item.end + 10**9)
        for item in SOUND.events
    )
    assert not conform(replace(SOUND, events=ahead)).allowed
    assert conform(replace(SOUND, events=ahead, clocks=("one", "two", "one"))).allowed


def test_times_of_one_clock_are_compared_through_ranks_of_another() -> None:
    """Rank 0's isend reaches rank 2 through rank 1, whose clock says nothing."""
    run = replace(SOUND, clocks=("one", "two", "one"))
    ahead = tuple(
        item if item.rank != 0 else replace(item, begin=item.begin + 10**9, end=item.end + 10**9)
        for item in SOUND.events
    )
    assert conform(run).allowed
    assert not conform(replace(run, events=ahead)).allowed


@pytest.mark.parametrize(
    ("trace", "said"),
    [
        (plain([(Send(peer=4), 0, 1)]), "there is no rank 4"),
        (plain([(Wait(requests=(1,)), 0, 1)]), "was not started"),
        (plain([(Recv(peer=-1), 0, None)], complete=False), "wildcard"),
        (plain([(Recv(peer=0), 0, None)], semantics={"other": "gloo"}), "no semantics for communicator 'world'"),
        (replace(SOUND, semantics={"*": "telepathy"}), "unknown semantics"),
        (replace(SOUND, loop=replace(SOUND.loop, tp=2)), "3 ranks are no whole number of stages of 2"),
        (replace(SOUND, loop=replace(SOUND.loop, ordering="clockwise")), "unknown ordering"),
    ],
)
def test_a_trace_that_says_too_little_is_a_value_error(trace: Trace, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        conform(trace)


# The command


def test_the_command(inside: Inside, tmp_path: Path) -> None:
    write(SOUND, tmp_path / "trace.jsonl")
    status, out, err = inside("conform", str(tmp_path))
    assert (status, err) == (0, "")
    assert out == f"allowed: {len(SOUND.events)} steps of 3 ranks in 8 iterations, from the start to the end\n"
    write(recording(ranks=3, policy="send-first", blocking=True), tmp_path / "hang.jsonl")
    status, out, _ = inside("conform", str(tmp_path / "hang.jsonl"))
    assert status == 0 and "allowed, as the beginning of a run" in out and "it ends in a deadlock" in out
    write(without(SOUND, 7), tmp_path / "bad.jsonl")
    status, out, _ = inside("conform", str(tmp_path / "bad.jsonl"))
    assert status == 1 and out.startswith("not allowed: rank ")
    status, out, _ = inside("conform", str(tmp_path / "bad.jsonl"), "--json")
    data = json.loads(out)
    assert (status, data["allowed"], set(data["violation"])) == (
        1,
        False,
        {"rank", "step", "iteration", "phase", "op", "why"},
    )
    for missing in (tmp_path / "none.jsonl", tmp_path / "none"):
        status, out, err = inside("conform", str(missing))
        assert (status, out) == (2, "") and err.startswith("error: ") and err.count("\n") == 1
