"""Which messages of the output phase wait for no forward, where a device's own library carries them."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from model.pipelines.serving import DATA, OUTPUT, PROXY, Phase, Step
from model.program.ops import Isend, Operation, Recv, Wait
from reference.device import HOST, Device
from reference.pipeline.driver import Pipeline
from reference.scheduling.batch import ScheduleBatch
from tests.reference.small_ring import ask, scheduler


class Library:
    """A transport that notes on which stream it is called: aside, or where forwards are."""

    def __init__(self, recv_device: torch.device | None) -> None:
        self.recv_device, self.aside, self.calls = recv_device, False, list[tuple[str, bool]]()

    def perform(self, op: Operation, *payloads: Any) -> Any:
        self.calls.append((op.kind, self.aside))
        return payloads[0] if payloads else None


def pipeline(
    monkeypatch: pytest.MonkeyPatch, *, rank: int, recv_device: torch.device | None = None
) -> tuple[Any, Library]:
    """A rank of two, with a batch in slot 0, an answer, and an output to be passed on."""
    library = Library(recv_device)
    first, last = rank == 0, rank == 1
    made: Any = Pipeline(
        rank=rank,
        ranks=2,
        device=Device(kind=HOST),
        dtype=torch.float32,
        stage=SimpleNamespace(first=first, last=last),  # type: ignore[arg-type]
        cache=None,  # type: ignore[arg-type]
        scheduler=scheduler(),
        transport=library,  # type: ignore[arg-type]
        board=None,  # type: ignore[arg-type]
        frontend=SimpleNamespace() if first else None,  # type: ignore[arg-type]
    )

    @contextmanager
    def aside() -> Iterator[None]:
        library.aside = True
        yield
        library.aside = False

    monkeypatch.setattr(made._copier, "on_copy_stream", aside)
    made._batches[0] = ScheduleBatch(requests=(ask(0),), rows=(0,), starts=(0,), tokens=((1, 2, 3),), lengths=(3,))
    made._outputs_N[0] = made._relay_N = torch.zeros(1, dtype=torch.int64)
    return made, library


def step(phase: Phase, op: Operation) -> Step:
    return Step(phase=phase, slot=0, op=op)


RECEIVE = step(Phase.RECV_OUTPUT, Recv(peer=1, tag=OUTPUT, comm=DATA))
SEND = step(Phase.SEND_OUTPUT, Isend(peer=1, tag=OUTPUT, request=OUTPUT, comm=DATA))
SETTLE = step(Phase.WAIT, Wait(requests=(OUTPUT,)))
OTHER = step(Phase.WAIT, Wait(requests=(PROXY,)))


def test_outputs_are_received_and_passed_on_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    first, library = pipeline(monkeypatch, rank=0)
    for one in (RECEIVE, SEND, SETTLE, OTHER):
        first._do(one)
    assert library.calls == [("recv", True), ("isend", True), ("wait", True), ("wait", False)]


def test_the_last_rank_sends_what_comes_of_its_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    last, library = pipeline(monkeypatch, rank=1)
    for one in (RECEIVE, SEND, SETTLE):
        last._do(one)
    assert library.calls == [("recv", True), ("isend", False), ("wait", False)]


def test_what_the_host_receives_needs_no_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    first, library = pipeline(monkeypatch, rank=0, recv_device=torch.device(HOST))
    for one in (RECEIVE, SEND, SETTLE):
        first._do(one)
    assert [aside for _, aside in library.calls] == [False] * 3
