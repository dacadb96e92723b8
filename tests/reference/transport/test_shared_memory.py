"""Rings of shared memory: bytes arrive in order whatever their sizes, sends wait for room only, and a pipeline runs."""

import multiprocessing
import threading
from pathlib import Path

import pytest
import torch

from model.pipelines.serving import CONTROL, OUTPUT, PROXY
from model.semantics.libraries import semantics
from model.traces import jsonl as trace
from model.traces.conformance import conform
from reference.config import EngineConfig
from reference.engine.engine import Engine
from reference.transport import shared_memory
from reference.transport.selection import choose_transport
from reference.transport.shared_memory import RING_BYTES, make_rings
from tests.patience import stretch

SIZES = (1, 7, RING_BYTES // 2 + 3, RING_BYTES - 1, 5, RING_BYTES + 11, 2 * RING_BYTES + 1, 64)
ORDERED = pytest.mark.skipif(not shared_memory.supported(), reason="rings are for x86-64; nothing to install")


def pair():
    rings = make_rings(multiprocessing.get_context("spawn"), stages=2, tp=1)
    return rings[0].open(), rings[1].open()


@ORDERED
def test_messages_of_any_size_arrive_whole_and_in_order():
    first, second = pair()
    generator = torch.Generator().manual_seed(0)
    sent = [torch.randint(0, 256, (size,), dtype=torch.uint8, generator=generator) for size in SIZES]

    def send_all():
        for tensor in sent:
            first.send([tensor], 1, PROXY).wait()

    sender = threading.Thread(target=send_all, daemon=True)
    sender.start()
    for tensor in sent:
        into = torch.zeros_like(tensor)
        second.recv([into], 0, PROXY).wait()
        assert torch.equal(into, tensor)
    sender.join(stretch(10))
    assert not sender.is_alive()


@ORDERED
def test_a_send_waits_for_room_and_for_nothing_else():
    first, second = pair()
    full = torch.zeros(RING_BYTES, dtype=torch.uint8)
    first.send([full], 1, OUTPUT).wait()  # nobody has received
    sender = threading.Thread(target=lambda: first.send([full[:1]], 1, OUTPUT), daemon=True)
    sender.start()
    sender.join(0.2)
    assert sender.is_alive()
    first.send([full[:1]], 1, PROXY).wait()  # another tag has a ring of its own, and so has the other way
    second.send([full[:1]], 0, OUTPUT).wait()
    second.recv([torch.empty(1, dtype=torch.uint8)], 0, OUTPUT).wait()
    sender.join(stretch(10))
    assert not sender.is_alive()


@ORDERED
def test_the_model_knows_its_promise():
    route = choose_transport(device="cpu", transport="shared", backend="auto", ranks=3)
    assert semantics(route.semantics).fifo == RING_BYTES and semantics(route.semantics).isend_returns == "post"
    assert str(route) == "cpu, gloo for collectives, shared memory for messages"


@ORDERED
@pytest.mark.xdist_group("engine")
@pytest.mark.parametrize("tp", [1, 2])
def test_a_pipeline_over_shared_memory_makes_the_same_tokens(tp: int, tmp_path: Path):
    found = []
    for transport, control in (("device", "group"), ("device", "shared"), ("shared", "shared")):
        folder = tmp_path / f"{transport} {control}"
        config = EngineConfig(
            model="tiny",
            load="random",
            pp=2,
            tp=tp,
            transport=transport,
            control=control,
            trace=folder,
            device="cpu",
            max_batch=2,
            context_length=64,
            threads=1,
        )
        with Engine(config) as engine:
            prompts = [[1, 2, 3], [4, 5], [6, 7, 8, 9], [10]]
            found.append([(item.index, item.token) for item in engine.generate(prompts, max_new_tokens=6)])
        run = trace.read(folder / trace.FILE)
        assert run.semantics[CONTROL] == ("gloo" if control == "group" else shared_memory.RING_SEMANTICS)
        assert conform(run).allowed and run.complete
    assert sorted(found[0]) == sorted(found[1]) == sorted(found[2]) and len(found[0]) == 24


def test_where_it_cannot_be_it_is_refused(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ValueError, match=r"backend 'mpi' has nothing to carry .* leave it out"):
        choose_transport(device="cpu", transport="shared", backend="mpi", ranks=2)
    for option in ("transport", "control"):
        with pytest.raises(ValueError, match=f"{option} 'shared' is not for an isend that blocks; leave it out"):
            Engine(EngineConfig(model="tiny", load="random", pp=2, blocking_isend=True, **{option: "shared"}))
    with pytest.raises(ValueError, match="control 'shared' is not for transport 'host'; choose --transport shared"):
        choose_transport(device="cpu", transport="host", backend="auto", ranks=2, control="shared")
    with pytest.raises(ValueError, match="transport 'shared' is not for control 'group'; leave it out"):
        choose_transport(device="cpu", transport="shared", backend="auto", ranks=2, control="group")
    with pytest.raises(ValueError, match="control is 'fast'; choose auto, group or shared"):
        EngineConfig(control="fast")  # type: ignore[arg-type]
    monkeypatch.setattr(shared_memory.platform, "machine", lambda: "aarch64")
    with pytest.raises(ValueError, match="is for x86-64, this is aarch64; leave it out"):
        choose_transport(device="cpu", transport="shared", backend="auto", ranks=2)
