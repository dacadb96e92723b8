"""How a rank passes on what arrived: as it came, and before it reads it."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from model.pipelines.serving import CONTROL, REQUESTS, Phase, Step
from model.program.ops import Isend, Operation, Recv
from reference.device import HOST, Device
from reference.pipeline.driver import Pipeline
from reference.scheduling.messages import STOP
from tests.reference.small_ring import scheduler

MESSAGE = b'{ "aborts": [], "requests": [{"prompt": [1, 2],  "id": 7, "max_new_tokens": 2}] }'
"""As no rank would write it."""

RECEIVE = Step(phase=Phase.RECV_REQUESTS, slot=0, op=Recv(peer=0, tag=REQUESTS, comm=CONTROL))
SEND = Step(phase=Phase.SEND_REQUESTS, slot=0, op=Isend(peer=2, tag=REQUESTS, request=REQUESTS, comm=CONTROL))
FORM = Step(phase=Phase.FORM, slot=0)


class Chain:
    """A transport whose receives give one message."""

    def __init__(self, message: bytes) -> None:
        self.message, self.sent = message, list[bytes]()

    def perform(self, op: Operation, *payloads: Any) -> Any:
        self.sent += payloads
        return self.message


def middle_rank(message: bytes) -> tuple[Pipeline, Chain]:
    chain = Chain(message)
    return Pipeline(
        rank=1,
        ranks=3,
        device=Device(kind=HOST),
        dtype=torch.float32,
        stage=SimpleNamespace(first=False, last=False),  # type: ignore[arg-type]
        cache=None,  # type: ignore[arg-type]
        scheduler=scheduler(),
        transport=chain,  # type: ignore[arg-type]
        board=None,  # type: ignore[arg-type]
    ), chain


def test_requests_go_on_as_they_came_and_are_then_read() -> None:
    pipeline, chain = middle_rank(MESSAGE)
    assert pipeline._do(RECEIVE) is True
    pipeline._do(SEND)
    assert chain.sent == [MESSAGE]
    assert pipeline._scheduler.idle, "they are read later"
    assert pipeline._do(FORM) is True
    assert pipeline._batches[0].ids == (7,)


def test_what_cannot_be_read_has_gone_on_before() -> None:
    pipeline, chain = middle_rank(b"{")
    pipeline._do(RECEIVE)
    pipeline._do(SEND)
    assert chain.sent == [b"{"]
    with pytest.raises(ValueError):
        pipeline._do(FORM)


def test_a_stop_ends_the_loop_and_is_passed_on() -> None:
    message = STOP + b"\n" + MESSAGE
    pipeline, chain = middle_rank(message)
    assert pipeline._do(RECEIVE) is False
    pipeline._do(SEND)
    assert chain.sent == [message]
    assert pipeline._do(FORM) is False, "nothing starts any more"
