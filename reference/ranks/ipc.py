"""What a rank and the engine say to each other: JSON over a pipe, or whatever else takes bytes."""

from __future__ import annotations

import json
import select
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from multiprocessing.connection import Connection
from typing import Any, NoReturn, Protocol

from reference.scheduling.messages import encode_tokens, join_inputs
from reference.scheduling.request import NewToken

READY, TOKENS, FAILED = "ready", "tokens", "failed"
"""What a rank says to the engine: JSON objects whose only key is one of these."""


class FailureKind(StrEnum):
    """Why a rank fails."""

    USAGE = "usage"  # the user's mistake
    LOST = "lost"  # a connection that broke, so another rank is to blame
    CRASH = "crash"  # anything else


class EngineConnection(Protocol):
    """A way to the engine: a pipe, or where that is elsewhere a `reference.ranks.multi_node.HeartbeatPublisher`."""

    def send_bytes(self, data: bytes) -> None:
        """Sends one message. Raises OSError where the engine is gone."""


def send_message(connection: EngineConnection, key: str, value: Any) -> None:
    """One message to the engine."""
    connection.send_bytes(json.dumps({key: value}).encode())


def recv_message(pipe: Connection) -> tuple[str, Any]:
    """One message of a rank: its key and value. Raises EOFError where the rank is gone."""
    message: Mapping[str, Any] = json.loads(pipe.recv_bytes())
    ((key, value),) = message.items()
    return key, value


def fail(connection: EngineConnection, kind: FailureKind, text: str) -> NoReturn:
    """Tells the engine why this rank ends, and ends it."""
    with suppress(OSError):  # the engine is gone too
        send_message(connection, FAILED, {"kind": kind, "text": text})
    raise SystemExit(1)


class PipeFrontend:
    """The frontend of rank 0: the engine at the other end of a pipe."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._poll = select.poll()  # the pipe's own way to ask costs ten times as much, in every iteration
        self._poll.register(pipe.fileno(), select.POLLIN)

    def poll(self, wait: float) -> bytes:
        """What arrived since the last call, as it came. Raises EOFError once the engine is gone."""
        messages = []
        while self._poll.poll(1000 * wait):
            messages.append(self._pipe.recv_bytes())
            wait = 0.0
        return join_inputs(messages)

    def deliver(self, tokens: list[NewToken]) -> None:
        """Sends new tokens to the engine."""
        send_message(self._pipe, TOKENS, encode_tokens(tokens))
