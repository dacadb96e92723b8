"""The choice of a device, what is asked of its module, and the host's stand-ins."""

import inspect
import re
from pathlib import Path

import pytest
import torch

from model.semantics.libraries import NAMED
from reference import device as devices
from reference.device import (
    BACKENDS_OF_DEVICE,
    CHOICES,
    DEFAULT_BACKENDS,
    GRAPH_API,
    HOST,
    HOST_BACKEND,
    MODULE_API,
    SEMANTICS,
    Device,
    select_backend,
    select_device,
    select_dtype,
)


@pytest.fixture
def cards(monkeypatch):
    """Pretends that a host has so many accelerators of a kind, and that torch was built with every backend."""

    def pretend(**counts):
        current = []
        for kind in devices.ACCELERATORS:
            module = torch.get_device_module(kind)
            monkeypatch.setattr(module, "is_available", lambda kind=kind: counts.get(kind, 0) > 0)
            monkeypatch.setattr(module, "device_count", lambda kind=kind: counts.get(kind, 0))
            monkeypatch.setattr(module, "set_device", lambda index, kind=kind: current.append((kind, index)))
        monkeypatch.setattr(torch.distributed, "is_backend_available", lambda name: True)
        return current

    return pretend


def test_the_host_is_always_there():
    host = select_device(HOST, local_rank=17)
    assert (host.torch, host.backend, host.default_dtype) == (torch.device("cpu"), "gloo", torch.float32)
    assert torch.zeros(1, device=host.torch).device == host.torch
    assert host.name and host.is_host


def test_auto_prefers_an_accelerator(cards):
    assert cards() == [] and select_device() == Device(kind=HOST)
    cards(xpu=2)
    assert select_device("auto", 1) == Device(kind="xpu", index=1)
    cards(xpu=2, cuda=1)
    assert select_device("auto") == Device(kind="cuda", index=0)


@pytest.mark.parametrize("kind", devices.ACCELERATORS)
def test_a_rank_gets_its_own_accelerator_and_makes_it_current(cards, kind):
    current = cards(**{kind: 4})
    chosen = select_device(kind, 3)
    assert (chosen.torch, chosen.backend) == (torch.device(kind, 3), DEFAULT_BACKENDS[kind])
    assert chosen.default_dtype == torch.bfloat16 and not chosen.is_host
    assert current == [(kind, 3)]


@pytest.mark.parametrize("kind", devices.ACCELERATORS)
def test_an_accelerator_that_is_not_there_is_named_with_the_remedy(cards, kind):
    cards()
    with pytest.raises(ValueError, match=rf"'{kind}'.*finds none.*--device cpu"):
        select_device(kind)


def test_more_ranks_than_accelerators(cards):
    cards(cuda=2)
    with pytest.raises(ValueError, match=r"local rank 2 .* there are 2.*at most 2 ranks"):
        select_device("cuda", 2)


@pytest.mark.parametrize("kind", devices.ACCELERATORS)
def test_ranks_that_share_accelerators_go_round(cards, kind):
    current = cards(**{kind: 2})
    assert [select_device(kind, rank, may_share=True).index for rank in range(5)] == [0, 1, 0, 1, 0]
    assert current == [(kind, index) for index in (0, 1, 0, 1, 0)]
    cards()
    with pytest.raises(ValueError, match="finds none"):
        select_device(kind, 0, may_share=True)


def test_a_torch_without_the_backend(cards, monkeypatch):
    cards(xpu=1)
    monkeypatch.setattr(torch.distributed, "is_backend_available", lambda name: name == "gloo")
    with pytest.raises(ValueError, match=r"built without xccl.*--transport host"):
        select_backend("auto", "xpu")
    assert select_backend("auto", HOST) == "gloo"


def test_an_unknown_device():
    with pytest.raises(ValueError, match=r"'tpu'; choose one of auto, cpu, cuda, xpu"):
        select_device("tpu")
    assert all(kind in CHOICES for kind in DEFAULT_BACKENDS)


def test_torch_agrees_on_the_backends():
    for kind, backend in DEFAULT_BACKENDS.items():
        assert torch.distributed.get_default_backend_for_device(kind) == backend
    assert torch.distributed.is_backend_available(HOST_BACKEND)


def test_semantics_are_declared_for_every_backend():
    assert set(SEMANTICS) == {backend for carriers in BACKENDS_OF_DEVICE.values() for backend in carriers}
    assert set(SEMANTICS.values()) <= set(NAMED)
    assert NAMED[SEMANTICS["gloo"]].isend_returns == "post"
    assert NAMED[SEMANTICS["xccl"]].isend_returns == "match"
    assert NAMED[SEMANTICS["xccl"]].batch == "replayed"
    # joined without a device, torch makes the communicator of a pair when it is first used
    assert (NAMED[SEMANTICS["nccl"]].order, NAMED[SEMANTICS["nccl"]].connection) == ("pair", "direction")
    assert not NAMED[SEMANTICS["mpi"]].buffers  # the standard promises none


@pytest.mark.parametrize("kind", devices.ACCELERATORS)
@pytest.mark.parametrize("name", MODULE_API)
def test_what_is_used_of_a_device_module_is_declared_there(kind, name):
    assert name in torch.get_device_module(kind).__all__


def test_nothing_else_is_used_of_a_device_module():
    source = inspect.getsource(devices)
    used = {name for name in dir(torch.cuda) if f"module.{name}(" in source or f"_module.{name}(" in source}
    used |= {"set_device"} if ".set_device(" in source else set()
    assert used == {*MODULE_API, *GRAPH_API}


CALLS = {
    "current_stream": ("device",),
    "device_count": (),
    "get_device_name": (0,),
    "is_available": (),
    "set_device": (0,),
    "stream": ("stream",),
    "synchronize": ("device",),
}
"""How each function of a device module is called."""

METHODS = {
    "Event": {"record": ("stream",), "wait": ("stream",), "synchronize": (), "query": ()},
    "Stream": {
        "wait_stream": ("stream",),
        "wait_event": ("event",),
        "record_event": (),
        "synchronize": (),
        "query": (),
    },
}
"""How each method of its two classes may be called."""

TIMED = {"elapsed_time": ("event",)}
"""What is asked of the events of a device besides, which a host has no need of."""

MADE = {"Event": ((), {"enable_timing": True}), "Stream": (("device",), {})}
"""How they are made."""

STAND_INS = {"Event": devices.HostEvent, "Stream": devices.HostStream}


@pytest.mark.parametrize("kind", devices.ACCELERATORS)
def test_everything_used_of_a_device_module_can_be_called_as_it_is(kind):
    module = torch.get_device_module(kind)
    assert set(CALLS) | set(METHODS) == set(MODULE_API)
    for name, arguments in CALLS.items():
        inspect.signature(getattr(module, name)).bind(*arguments)


@pytest.mark.parametrize("kind", devices.ACCELERATORS)
@pytest.mark.parametrize("name", METHODS)
def test_events_and_streams_have_what_is_used_of_them_in_a_class_of_their_own(kind, name):
    """What a build without the device says: its classes are whole, only their base is a dummy."""
    found = getattr(torch.get_device_module(kind), name)
    arguments, options = MADE[name]
    inspect.signature(found.__new__).bind(found, *arguments, **options)
    for method, arguments in (METHODS[name] | (TIMED if name == "Event" else {})).items():
        assert method in vars(found), f"torch.{kind}.{name}.{method}"
        inspect.signature(vars(found)[method]).bind(found, *arguments)


@pytest.mark.parametrize("name", METHODS)
def test_a_stand_in_has_the_methods_that_are_used_and_no_others(name):
    stand_in = STAND_INS[name]
    assert {method for method in vars(stand_in) if not method.startswith("_")} == set(METHODS[name])
    for method, arguments in METHODS[name].items():
        ours = inspect.signature(getattr(stand_in, method))
        ours.bind(stand_in, *arguments)
        for kind in devices.ACCELERATORS:
            theirs = inspect.signature(vars(getattr(torch.get_device_module(kind), name))[method])
            assert list(ours.parameters) == list(theirs.parameters), f"torch.{kind}.{name}.{method}"


def test_no_other_file_knows_a_device_module_or_a_method_of_its_classes():
    """So that what is checked here is all that is used."""
    of_our_own = {"wait_until"}  # of rings in memory that ranks share
    of_the_classes = re.compile(r"\.((?:wait|record)_\w+|elapsed_time|ipc_handle|priority\w*)\(")
    for path in sorted(Path(devices.__file__).parent.rglob("*.py")):
        source = path.read_text()
        assert set(of_the_classes.findall(source)) - of_our_own <= {*METHODS["Stream"], *METHODS["Event"], *TIMED}, path
        if path != Path(devices.__file__):
            assert not re.findall(r"torch\.(?:cuda|xpu|accelerator|mps)\b|get_device_module", source), path


def test_work_on_the_host_is_done_when_it_is_asked():
    host = Device(kind=HOST)
    stream, event = host.stream(), host.event()
    with host.on_stream(stream):
        event.record(host.current_stream())
    stream.wait_event(event)
    stream.wait_stream(host.current_stream())
    event.wait()
    assert stream.record_event(event) is event
    assert stream.record_event().query() and event.query() and stream.query()
    for waitable in (event, stream, host):
        waitable.synchronize()


def test_dtypes_by_name():
    host = Device(kind=HOST)
    assert select_dtype("auto", host) == torch.float32
    assert select_dtype("auto", Device(kind="xpu")) == torch.bfloat16
    assert select_dtype("float16", host) == torch.float16
    with pytest.raises(ValueError, match=r"'int8'; choose one of auto, float32"):
        select_dtype("int8", host)
