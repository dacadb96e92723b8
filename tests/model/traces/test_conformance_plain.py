"""Recorded programs without the serving loop, and whether the model allows them."""

from dataclasses import replace

from model.program.ops import Batch, Compute, Irecv, Isend, Operation, Recv, Send, Wait
from model.traces.conformance import conform
from tests.model.recordings import plain


def test_a_program_without_a_loop() -> None:
    assert conform(plain([(Send(peer=1), 0, 5)], [(Compute(), 1, 2), (Recv(peer=0), 3, 5)])).allowed
    early = conform(plain([(Send(peer=1), 0, 2)], [(Compute(), 1, 2), (Recv(peer=0), 3, 5)])).violation
    assert early is not None and (early.rank, early.op) == (0, "send(1)")


def test_a_message_left_over() -> None:
    lost = plain([(Send(peer=1), 0, 5)], [], semantics={"*": "eager"})
    found = conform(lost).violation
    assert found is not None and found.why == "its message meets no other, and the run is over"
    assert conform(replace(lost, complete=False)).allowed


def test_a_completion_without_its_other_end() -> None:
    found = conform(plain([(Send(peer=1), 0, 5)], [], complete=False)).violation
    assert found is not None and found.why == "it was over, and no other rank did its part"
    after = plain([(Send(peer=1), 0, None)], [(Recv(peer=0, tag=3), 0, 4)], complete=False)
    assert not conform(after).allowed


def test_messages_of_a_channel_arrive_in_order() -> None:
    """The second message cannot be in before the first is sent."""
    sends: list[tuple[Operation, int, int | None]] = [(Send(peer=1), 0, 5), (Send(peer=1), 6, 9)]
    both: list[tuple[Operation, int, int | None]] = [
        (Irecv(peer=0, request="a"), 0, 1),
        (Irecv(peer=0, request="b"), 1, 2),
    ]
    assert conform(plain(sends, [*both, (Wait(requests=("b",)), 2, 7), (Wait(requests=("a",)), 8, 9)])).allowed
    assert not conform(plain(sends, [*both, (Wait(requests=("b",)), 2, 5), (Wait(requests=("a",)), 8, 9)])).allowed


def test_calls_that_only_queue_say_nothing_of_completion() -> None:
    run = plain([(Isend(peer=1, request=0), 8, 9), (Wait(requests=(0,)), 9, 10)], [(Recv(peer=0), 0, 1)])
    assert not conform(run).allowed
    found = conform(replace(run, queued=frozenset({"world"})))
    assert found.allowed and found.unobserved == ("world",)
    group = Batch(ops=(Isend(peer=1, request=0), Irecv(peer=1, request=1)))
    other = Batch(ops=(Isend(peer=0, request=0), Irecv(peer=0, request=1)))
    batched = plain([(group, 0, 1)], [(other, 5, 6)], queued=frozenset({"world"}))
    assert conform(batched).allowed and not conform(replace(batched, queued=frozenset())).allowed
    alone = plain([(group, 0, 1)], [(Recv(peer=0), 5, 6)], queued=frozenset({"world"}))
    assert not conform(alone).allowed
