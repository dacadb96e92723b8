"""Every operation on real gloo processes, directly and through the host, and an isend that waits for its receive."""

import time
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Event
from typing import Any

import pytest
import torch

from model.pipelines.serving import CONTROL, DATA
from model.program.ops import Batch, Compute, Irecv, Isend, Recv, Send, Wait
from reference.transport.base import PeerLost
from reference.transport.torch_distributed import TorchTransport
from tests.patience import stretch
from tests.reference.pairs import PATIENCE, Part, pair_of_ranks


@pytest.fixture(params=["device", "host"])
def pair(request: pytest.FixtureRequest) -> Iterator[Callable[..., list[Any]]]:
    """`pair(part of rank 0, part of rank 1)` runs both in processes of their own; what they returned."""
    with pair_of_ranks() as run:

        def run_here(*parts: Part, blocking: bool = False) -> list[Any]:
            return run(*parts, way=request.param, blocking=blocking)

        yield run_here


def numbers(start: int, count: int = 1000) -> torch.Tensor:
    return torch.arange(start, start + count)


def empty(count: int = 1000) -> torch.Tensor:
    return torch.empty(count, dtype=torch.int64)


def speak(transport: TorchTransport, event: Event) -> list[int]:
    transport.perform(Send(peer=1, tag=5, comm=DATA), numbers(1))
    transport.perform(Isend(peer=1, tag=6, request="a", comm=DATA), numbers(2))
    transport.perform(Isend(peer=1, tag=7, request="b", comm=CONTROL), numbers(3))
    asked = [transport.waits_for(Wait(requests=("a", "b"))), transport.waits_for(Recv(peer=1, comm=DATA))]
    assert asked == [1, 1]
    transport.perform(Wait(requests=("a", "b")))
    assert transport.waits_for(Wait(requests=("a",))) is None
    into = empty()
    transport.perform(
        Batch(ops=(Isend(peer=1, request="s", comm=DATA), Irecv(peer=1, request="r", comm=DATA))), numbers(4), into
    )
    return [int(into[0])]


def listen(transport: TorchTransport, event: Event) -> list[int]:
    got = [transport.perform(Recv(peer=0, tag=5, comm=DATA), empty())]
    into = empty()
    transport.perform(Irecv(peer=0, tag=6, request=0, comm=DATA), into)
    got.append(transport.perform(Recv(peer=0, tag=7, comm=CONTROL), empty()))
    transport.perform(Wait(requests=(0,)))
    got.append(into)
    last = empty()
    transport.perform(
        Batch(ops=(Isend(peer=0, request="s", comm=DATA), Irecv(peer=0, request="r", comm=DATA))), numbers(5), last
    )
    assert all(torch.equal(tensor, numbers(int(tensor[0]))) for tensor in (*got, last))
    return [int(tensor[0]) for tensor in (*got, last)]


@pytest.mark.parametrize("blocking", [False, True])
def test_every_operation_moves_its_tensor(pair: Callable[..., list[Any]], blocking: bool) -> None:
    assert pair(speak, listen, blocking=blocking) == [[5], [1, 3, 2, 4]]


TEXTS = (b"", b"{}", b"", bytes(range(256)) * 5000)


def speak_bytes(transport: TorchTransport, event: Event) -> None:
    for text in TEXTS:
        transport.perform(Isend(peer=1, request=0, comm=CONTROL), text)
        transport.perform(Wait(requests=(0,)))


def listen_bytes(transport: TorchTransport, event: Event) -> list[bytes]:
    return [transport.perform(Recv(peer=0, comm=CONTROL)) for _ in TEXTS]


def test_bytes_of_any_length_travel(pair: Callable[..., list[Any]]) -> None:
    assert pair(speak_bytes, listen_bytes)[1] == list(TEXTS)


def speak_and_forget(transport: TorchTransport, event: Event) -> None:
    transport.perform(Isend(peer=1, request=0, comm=DATA), numbers(0, 1 << 20))
    clutter = [torch.full((1 << 20,), -1) for _ in range(8)]  # takes the payload's memory, were it free
    event.set()
    transport.perform(Wait(requests=(0,)))
    assert len(clutter) == 8


def listen_late(transport: TorchTransport, event: Event) -> bool:
    assert event.wait(stretch(PATIENCE))
    return torch.equal(transport.perform(Recv(peer=0, comm=DATA), empty(1 << 20)), numbers(0, 1 << 20))


def test_a_payload_lives_until_it_is_waited_for(pair: Callable[..., list[Any]]) -> None:
    assert pair(speak_and_forget, listen_late)[1] is True


def isend_then_look(transport: TorchTransport, event: Event) -> int:
    """How often the isend polled. Rank 1 receives after the third time, or once the isend has returned."""
    polls = 0
    sleep = time.sleep

    def counted(seconds: float) -> None:
        nonlocal polls
        polls += 1
        if polls == 3:
            event.set()
        sleep(seconds)

    time.sleep = counted
    transport.perform(Isend(peer=1, request=0, comm=DATA), numbers(0))
    returned_after = polls
    event.set()
    transport.perform(Wait(requests=(0,)))
    return returned_after


def recv_later(transport: TorchTransport, event: Event) -> bool:
    assert event.wait(stretch(PATIENCE))
    return torch.equal(transport.perform(Recv(peer=0, comm=DATA), empty()), numbers(0))


def test_a_blocking_isend_polls_until_its_receive_is_posted(pair: Callable[..., list[Any]]) -> None:
    polls, received = pair(isend_then_look, recv_later, blocking=True)
    assert polls >= 3
    assert received


def isend_then_allow(transport: TorchTransport, event: Event) -> bool:
    transport.perform(Isend(peer=1, request=0, comm=DATA), numbers(0))
    event.set()
    transport.perform(Wait(requests=(0,)))
    return True


def test_an_ordinary_isend_returns_before_its_receive_is_posted(pair: Callable[..., list[Any]]) -> None:
    assert pair(isend_then_allow, recv_when_allowed) == [True, True]


def recv_when_allowed(transport: TorchTransport, event: Event) -> bool:
    assert event.wait(stretch(PATIENCE)), "the isend waits for its receive"
    return torch.equal(transport.perform(Recv(peer=0, comm=DATA), empty()), numbers(0))


def recv_from_nobody(transport: TorchTransport, event: Event) -> str:
    event.set()
    with pytest.raises(PeerLost) as caught:
        transport.perform(Recv(peer=1, comm=DATA), empty())
    return f"{caught.value.peer}: {caught.value}"


def leave(transport: TorchTransport, event: Event) -> None:
    assert event.wait(stretch(PATIENCE))


def test_a_broken_connection_names_the_peer(pair: Callable[..., list[Any]]) -> None:
    assert pair(recv_from_nobody, leave)[0].startswith("1: the connection to rank 1 broke")


def compute(transport: TorchTransport, event: Event) -> str:
    with pytest.raises(ValueError, match="nothing that torch") as caught:
        transport.perform(Compute(seconds=1.0))
    return str(caught.value)


def test_computing_is_not_the_transports_job(pair: Callable[..., list[Any]]) -> None:
    assert all("leave it out" in text for text in pair(compute, compute))
