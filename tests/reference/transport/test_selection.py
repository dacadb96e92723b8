"""The way of the tensors: whose device, which library, through the host or not."""

import pytest
import torch

from reference import device as devices
from reference.device import SEMANTICS
from reference.transport import shared_memory
from reference.transport.selection import choose_transport


@pytest.fixture
def cards(monkeypatch):
    """Pretends that a host has so many accelerators of a kind, and a torch with these backends."""

    def pretend(*, backends=("gloo", "nccl", "xccl", "mpi"), **counts):
        for kind in devices.ACCELERATORS:
            module = torch.get_device_module(kind)
            monkeypatch.setattr(module, "is_available", lambda kind=kind: counts.get(kind, 0) > 0)
            monkeypatch.setattr(module, "device_count", lambda kind=kind: counts.get(kind, 0))
            monkeypatch.setattr(module, "set_device", lambda index: None)
        monkeypatch.setattr(torch.distributed, "is_backend_available", lambda name: name in backends)

    return pretend


def chosen(ranks=2, device="auto", transport="auto", backend="auto", blocked_by="a test"):
    choice = choose_transport(device=device, transport=transport, backend=backend, ranks=ranks, blocked_by=blocked_by)
    assert choice.semantics == (shared_memory.RING_SEMANTICS if choice.kind == "shared" else SEMANTICS[choice.backend])
    assert choice.control == (shared_memory.RING_SEMANTICS if choice.rings else "gloo")
    assert choice.rings == (
        choice.kind == "shared" or (choice.kind == "device" and not blocked_by and choice.device.kind != "cpu")
    )
    return choice.device.kind, choice.device.index, choice.kind, choice.backend


def test_each_rank_on_a_card_of_its_own_uses_the_cards_library(cards, monkeypatch):
    monkeypatch.setattr(shared_memory.platform, "machine", lambda: "x86_64")
    cards(cuda=4)
    assert chosen(ranks=4) == chosen(ranks=4, blocked_by="") == ("cuda", 3, "device", "nccl")
    cards(xpu=2)
    assert chosen() == ("xpu", 1, "device", "xccl")
    choice = choose_transport(device="xpu", transport="auto", backend="auto", ranks=2)
    assert str(choice) == "xpu, xccl, requests through shared memory"
    assert not choose_transport(device="xpu", transport="auto", backend="auto", ranks=2, stages=1).rings
    monkeypatch.setattr(shared_memory.platform, "machine", lambda: "aarch64")
    assert not choose_transport(device="xpu", transport="auto", backend="auto", ranks=2).rings


def test_ranks_that_share_a_card_share_memory_where_they_can(cards, monkeypatch):
    cards(cuda=1)
    monkeypatch.setattr(shared_memory.platform, "machine", lambda: "x86_64")
    assert chosen(ranks=4, blocked_by="") == ("cuda", 0, "shared", "gloo")
    assert chosen(ranks=4, blocked_by="", backend="gloo") == ("cuda", 0, "host", "gloo")
    choice = choose_transport(device="auto", transport="auto", backend="auto", ranks=4, control="group")
    assert (choice.kind, choice.rings) == ("host", False)
    monkeypatch.setattr(shared_memory.platform, "machine", lambda: "aarch64")
    assert chosen(ranks=4, blocked_by="") == ("cuda", 0, "host", "gloo")


def test_ranks_that_share_a_card_go_through_the_host_else(cards):
    cards(cuda=1)
    assert chosen(ranks=4) == ("cuda", 0, "host", "gloo")
    cards(cuda=2)
    assert chosen(ranks=4, device="cuda") == ("cuda", 1, "host", "gloo")
    assert chosen(ranks=2, transport="host") == ("cuda", 1, "host", "gloo")
    assert (
        str(choose_transport(device="cuda", transport="host", backend="auto", ranks=3)) == "cuda, gloo through the host"
    )


def test_a_torch_without_the_cards_library_goes_through_the_host(cards):
    cards(xpu=2, backends=("gloo",))
    assert chosen() == ("xpu", 1, "host", "gloo")
    with pytest.raises(ValueError, match=r"built without xccl.*--transport host"):
        chosen(device="xpu", transport="device")


def test_a_host_sends_what_it_has(cards):
    cards()
    assert chosen(ranks=5) == ("cpu", 0, "device", "gloo")
    assert chosen(transport="host") == ("cpu", 0, "host", "gloo")
    assert chosen(backend="mpi") == ("cpu", 0, "device", "mpi")
    assert str(choose_transport(device="cpu", transport="auto", backend="auto", ranks=2)) == "cpu, gloo"


def test_what_must_be_the_devices_transport_is(cards):
    cards(cuda=1)
    assert chosen(transport="device") == ("cpu", 0, "device", "gloo")  # the device is free, the transport is not
    with pytest.raises(ValueError, match=r"local rank 1 has none.*--transport host"):
        chosen(device="cuda", transport="device")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"device": "tpu"}, "unknown device 'tpu'"),
        ({"backend": "ucc"}, r"unknown backend 'ucc'; choose one of auto, gloo, mpi, nccl, xccl"),
        ({"device": "cpu", "backend": "nccl"}, "'nccl' carries no tensors of device 'cpu'; choose one of gloo, mpi"),
        ({"device": "cuda", "transport": "device", "backend": "gloo"}, "'gloo' carries no tensors of device 'cuda'"),
        ({"device": "xpu"}, "finds none"),
    ],
)
def test_what_cannot_be_is_named(cards, options, named):
    cards(cuda=2)
    with pytest.raises(ValueError, match=named):
        chosen(**options)


def test_a_library_that_takes_no_tensors_of_the_card_takes_them_from_the_host(cards):
    cards(cuda=2)
    assert chosen(device="cuda", backend="gloo") == ("cuda", 1, "host", "gloo")


def test_a_torch_without_mpi(cards):
    cards(backends=("gloo",))
    with pytest.raises(ValueError, match=r"built without mpi.*--backend gloo"):
        chosen(backend="mpi")
