"""Tensors through the host: whole, in order, no earlier than their copies are done; and the buffers."""

import threading
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Event
from typing import Any

import pytest
import torch

from model.pipelines.serving import CONTROL, DATA
from model.program.ops import Irecv, Isend, Recv, Send, Wait
from reference.device import HOST, Device, HostEvent, HostStream
from reference.transport.base import PeerLost
from reference.transport.host_staged import CHUNK_BYTES, Buffers, HostStagedTransport
from tests.patience import stretch
from tests.reference.pairs import PATIENCE, pair_of_ranks


@pytest.fixture
def pair() -> Iterator[Callable[..., list[Any]]]:
    with pair_of_ranks() as run:
        yield lambda *parts: run(*parts, way="host")


SIZES = (0, 1, 4096, CHUNK_BYTES // 2 - 1, CHUNK_BYTES // 2, CHUNK_BYTES // 2 + 1, 3 * CHUNK_BYTES // 2 + 5)
"""Elements of two bytes: below, at and over the size of a chunk, and several of them."""

LONG = CHUNK_BYTES // 2 + 1
"""Elements that take two chunks, and a stream of their own."""


def test_what_does_not_go_through_the_host_is_received_on_the_device() -> None:
    """Where only requests are sent between hosts, tensors are the other library's."""
    requests = HostStagedTransport({}, Device(kind=HOST), staged={CONTROL})
    assert requests.recv_device is None and requests.host_recv_buffer((2,), torch.float32) is None
    assert HostStagedTransport({}, Device(kind=HOST), staged={CONTROL, DATA}).recv_device == torch.device(HOST)


def values(size: int) -> torch.Tensor:
    return (torch.arange(size) % 251).to(torch.bfloat16)


def send_sizes(transport: HostStagedTransport, event: Event) -> None:
    for number, size in enumerate(SIZES):
        transport.perform(Isend(peer=1, request=number, comm=DATA), values(size))
    transport.perform(Wait(requests=tuple(range(len(SIZES)))))


def recv_sizes(transport: HostStagedTransport, event: Event) -> list[bool]:
    arrived = [transport.perform(Recv(peer=0, comm=DATA), torch.empty(size, dtype=torch.bfloat16)) for size in SIZES]
    return [torch.equal(tensor, values(size)) for tensor, size in zip(arrived, SIZES, strict=True)]


def test_every_size_arrives_whole_and_in_order(pair: Callable[..., list[Any]]) -> None:
    assert pair(send_sizes, recv_sizes)[1] == [True] * len(SIZES)


class Gate(HostEvent):
    """The end of a copy, which the test allows."""

    def __init__(self) -> None:
        self.gate = threading.Event()

    def synchronize(self) -> None:
        assert self.gate.wait(stretch(PATIENCE))

    def query(self) -> bool:
        return self.gate.is_set()


class GatedStream(HostStream):
    """A stream each of whose copies ends at a gate of its own."""

    def __init__(self) -> None:
        self.gates: list[Gate] = []

    def record_event(self, event: HostEvent | None = None) -> HostEvent:
        self.gates.append(Gate())
        return self.gates[-1]


def send_before_the_copy_is_done(transport: HostStagedTransport, event: Event) -> list[bool]:
    stream = transport._copies = GatedStream()
    transport.perform(Isend(peer=1, request="first", tag=1, comm=DATA), values(LONG))  # returns: nobody opened a gate
    transport.perform(Isend(peer=1, request="second", tag=2, comm=DATA), values(LONG + 1))
    first, second = stream.gates[:2], stream.gates[2:]
    assert len(second) == 2
    for gate in second:
        gate.gate.set()
    event.set()
    transport.perform(Recv(peer=1, comm=CONTROL), torch.empty(1))
    posted = [transport._open[name].posted for name in ("first", "second")]
    for gate in first:
        gate.gate.set()
    transport.perform(Wait(requests=("first", "second")))
    return posted


def recv_both(transport: HostStagedTransport, event: Event) -> list[int]:
    assert event.wait(stretch(PATIENCE))
    transport.perform(Send(peer=0, comm=CONTROL), torch.ones(1))
    got = [
        transport.perform(Recv(peer=0, tag=tag, comm=DATA), values(size)) for tag, size in ((1, LONG), (2, LONG + 1))
    ]
    return [tensor.numel() for tensor in got]


def test_an_isend_returns_before_its_copy_and_nothing_overtakes_it(pair: Callable[..., list[Any]]) -> None:
    assert pair(send_before_the_copy_is_done, recv_both) == [[False, False], [LONG, LONG + 1]]


def send_to_nobody(transport: HostStagedTransport, event: Event) -> str:
    stream = transport._copies = GatedStream()
    transport.perform(Isend(peer=1, request=0, comm=DATA), values(4 * CHUNK_BYTES))
    event.set()
    with pytest.raises(PeerLost):
        transport.perform(Recv(peer=1, comm=CONTROL), torch.empty(1))  # it has gone
    for gate in stream.gates:
        gate.gate.set()
    with pytest.raises(PeerLost) as lost:
        transport.perform(Wait(requests=(0,)))
    return f"{lost.value.peer}"


def leave(transport: HostStagedTransport, event: Event) -> None:
    assert event.wait(stretch(PATIENCE))


def test_a_send_that_fails_in_the_thread_is_told_at_its_wait(pair: Callable[..., list[Any]]) -> None:
    assert pair(send_to_nobody, leave)[0] == "1"


def many(transport: HostStagedTransport, event: Event) -> int:
    for _ in range(50):
        transport.perform(Isend(peer=1, request=0, comm=DATA), values(1000))
        transport.perform(Wait(requests=(0,)))
    return transport._buffers.made


def receive_many(transport: HostStagedTransport, event: Event) -> int:
    for _ in range(50):
        transport.perform(Recv(peer=0, comm=DATA), values(1000))
    return transport._buffers.made


def test_buffers_are_used_again(pair: Callable[..., list[Any]]) -> None:
    assert pair(many, receive_many) == [1, 1]


def test_a_buffer_is_not_used_again_while_a_copy_reads_it() -> None:
    buffers, copy = Buffers(Device(kind=HOST)), Gate()
    first = buffers.take(5000)
    assert first.numel() >= 5000
    buffers.give(first, copy)
    second = buffers.take(5000)
    assert second is not first
    copy.gate.set()
    assert buffers.take(8192) is first
    assert buffers.take(100) is not second
    assert buffers.made == 3


def wait_for_rank_0(transport: HostStagedTransport, event: Event) -> list[int | None]:
    into = values(10)
    transport.perform(Irecv(peer=0, request="late", comm=DATA), into)
    asked = [transport.waits_for(Wait(requests=("late",))), transport.waits_for(Recv(peer=0, comm=DATA))]
    event.set()
    transport.perform(Wait(requests=("late",)))
    return [*asked, transport.waits_for(Wait(requests=("late",))), into.numel()]


def send_late(transport: HostStagedTransport, event: Event) -> bool:
    assert event.wait(stretch(PATIENCE))
    transport.perform(Send(peer=1, comm=DATA), values(10))
    return transport.recv_device == torch.device(HOST)


def test_who_is_waited_for_counts_rank_0_too(pair: Callable[..., list[Any]]) -> None:
    assert pair(send_late, wait_for_rank_0) == [True, [0, 0, None, 10]]
