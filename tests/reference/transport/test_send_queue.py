"""Sends over rings: the rank itself hands them on, whenever it waits; and the requests that travel there as bytes."""

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from model.pipelines.serving import CONTROL, DATA, OUTPUT, PROXY, REQUESTS
from model.program.ops import Irecv, Isend, Operation, Recv, Wait
from reference.device import HOST, Device, HostEvent, HostStream
from reference.transport.host_staged import CHUNK_BYTES, HostStagedTransport
from reference.transport.shared_memory import RING_BYTES, make_rings, supported
from tests.patience import stretch

PATIENCE = 30.0

pytestmark = pytest.mark.skipif(not supported(), reason="rings are for x86-64; nothing to install")


@pytest.fixture(params=[False, True], ids=["alone", "collective"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[HostStagedTransport, HostStagedTransport]]:
    """Transports of two ranks, that share their stages with others or do not."""
    rings = make_rings(multiprocessing.get_context("spawn"), stages=2, tp=1)
    ways = [dict.fromkeys((CONTROL, DATA), rings[rank].open()) for rank in (0, 1)]
    first, second = (
        HostStagedTransport(way, Device(kind=HOST), staged=way.keys(), collective=request.param) for way in ways
    )
    yield first, second
    first.close()
    second.close()
    for thread in threading.enumerate():
        if thread.name == "host-staged sends":
            thread.join(stretch(PATIENCE))
            assert not thread.is_alive(), "a lane is left"


def beside(work: Callable[[], Any]) -> Callable[[], Any]:
    """Does the work in a thread; what it returns is had by calling."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()

    def result() -> Any:
        thread.join(stretch(PATIENCE))
        assert found, "it never ended"
        return found[0]

    return result


def data(kind: type[Operation], peer: int, tag: int = PROXY) -> Any:
    more = {} if kind is Recv else {"request": tag}
    return kind(peer=peer, tag=tag, comm=DATA, **more)  # type: ignore[call-arg]


class Late(HostEvent):
    """A copy that is done when it may be, and has been asked for a while."""

    def __init__(self, may: threading.Event) -> None:
        self.may, self.left = may, 100

    def query(self) -> bool:
        self.left -= self.may.is_set()
        return self.left < 0

    def synchronize(self) -> None:
        assert self.may.wait(stretch(PATIENCE))


class LateStream(HostStream):
    def __init__(self) -> None:
        self.may = threading.Event()

    def record_event(self, event: HostEvent | None = None) -> HostEvent:
        return Late(self.may)


def test_what_a_copy_held_up_is_handed_on_while_the_rank_waits_for_something_else(
    pair: tuple[HostStagedTransport, HostStagedTransport],
) -> None:
    first, second = pair
    stream = first._copies = LateStream()  # type: ignore[assignment]
    sent = torch.arange(CHUNK_BYTES + 8, dtype=torch.int64).to(torch.uint8)
    first.perform(data(Isend, 1), sent)
    assert not first._open[PROXY].posted  # type: ignore[union-attr]
    stream.may.set()

    def answer() -> bool:
        got = second.perform(data(Recv, 0), torch.empty_like(sent))
        second.perform(data(Isend, 0, OUTPUT), torch.ones(3))
        return torch.equal(got, sent)

    answered = beside(answer)
    assert beside(lambda: first.perform(data(Recv, 1, OUTPUT), torch.zeros(3)).tolist())() == [1, 1, 1]
    assert answered()
    first.perform(Wait(requests=(PROXY,)))


def test_two_ranks_that_send_first_exchange_more_than_their_rings_hold(
    pair: tuple[HostStagedTransport, HostStagedTransport],
) -> None:
    def exchange(rank: int) -> bool:
        transport, other = pair[rank], 1 - rank
        transport.perform(data(Isend, other), torch.full((3 * RING_BYTES + 5,), rank, dtype=torch.uint8))
        transport.perform(data(Isend, other), torch.full((7,), 10 + rank, dtype=torch.uint8))
        got = [
            transport.perform(data(Recv, other), torch.empty(size, dtype=torch.uint8))
            for size in (3 * RING_BYTES + 5, 7)
        ]
        transport.perform(Wait(requests=(PROXY,)))
        return bool((got[0] == other).all() and (got[1] == 10 + other).all())

    ends = [beside(lambda rank=rank: exchange(rank)) for rank in (0, 1)]  # type: ignore[misc]
    assert [end() for end in ends] == [True, True]


def test_a_full_ring_holds_up_no_other(pair: tuple[HostStagedTransport, HostStagedTransport]) -> None:
    first, second = pair
    first.perform(data(Isend, 1, PROXY), torch.zeros(2 * RING_BYTES, dtype=torch.uint8))
    first.perform(data(Isend, 1, OUTPUT), torch.ones(2))
    beside(lambda: first.perform(Wait(requests=(OUTPUT,))) or True)()
    assert not first._open[PROXY].posted  # type: ignore[union-attr]
    second.perform(data(Irecv, 0, OUTPUT), into := torch.zeros(2))
    assert second.waits_for(Wait(requests=(OUTPUT,))) == 0
    second.perform(Wait(requests=(OUTPUT,)))
    assert into.tolist() == [1, 1]


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)) * 40000])
def test_bytes_arrive_whole_whatever_their_number(
    pair: tuple[HostStagedTransport, HostStagedTransport], content: bytes
) -> None:
    first, second = pair
    first.perform(Isend(peer=1, tag=REQUESTS, request=REQUESTS, comm=CONTROL), content)
    got = beside(lambda: second.perform(Recv(peer=0, tag=REQUESTS, comm=CONTROL)))
    beside(lambda: first.perform(Wait(requests=(REQUESTS,))) or True)()
    assert got() == content


def test_what_cannot_be_sent_is_told_and_the_next_send_goes(
    pair: tuple[HostStagedTransport, HostStagedTransport],
) -> None:
    first, second = pair
    with pytest.raises(ValueError, match="there is no ring from rank 0 to rank 7 with tag 1"):
        first.perform(data(Isend, 7), torch.zeros(2))
        first.perform(Wait(requests=(PROXY,)))
    first.perform(data(Isend, 1, OUTPUT), torch.ones(2))
    assert second.perform(data(Recv, 0, OUTPUT), torch.zeros(2)).tolist() == [1, 1]


def test_a_device_that_fails_is_not_taken_for_a_peer_that_is_lost(
    pair: tuple[HostStagedTransport, HostStagedTransport],
) -> None:
    first, _ = pair

    class Broken(HostEvent):
        def query(self) -> bool:
            raise RuntimeError("the device is gone")

        synchronize = query  # type: ignore[assignment]

    class BrokenStream(HostStream):
        def record_event(self, event: HostEvent | None = None) -> HostEvent:
            return Broken()

    first._copies = BrokenStream()  # type: ignore[assignment]
    with pytest.raises(RuntimeError, match="the device is gone"):
        first.perform(data(Isend, 1), torch.zeros(CHUNK_BYTES + 1))
        first.perform(Wait(requests=(PROXY,)))
