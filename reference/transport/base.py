"""What every transport does, and how it fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from model.program.checked import parts
from model.program.ops import Isend, Operation, Send

Payload = torch.Tensor | bytes


class PeerLost(ConnectionError):
    """A message could not be sent or received, most likely because the process of rank `peer` ended."""

    def __init__(self, peer: int, why: str) -> None:
        self.peer = peer
        super().__init__(f"the connection to rank {peer} broke: {why}")


class CollectiveFailed(ConnectionError):
    """A collective failed, most likely because the process of another rank of the stage ended."""


class Transport(Protocol):
    """The operations of one rank, performed."""

    def perform(self, op: Operation, *payloads: Payload) -> Any:
        """Performs one operation; returns what a Recv received.

        payloads: what a send sends; the tensor that a receive fills (a Recv without one receives bytes); one
        of either for each part of a batch; none for a wait. Raises PeerLost where a connection breaks.
        """

    def waits_for(self, op: Operation) -> int | None:
        """The rank whose answer the operation needs first, or None."""

    @property
    def recv_device(self) -> torch.device | None:
        """Where to receive what the host needs anyhow; None for the device, whose library takes only its tensors."""

    def host_recv_buffer(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor | None:
        """Host memory in which to receive what the device needs; None: receive on the device."""

    def close(self) -> None:
        """Ends the helper threads; requests still open are dropped."""


def bytes_sent(op: Operation, payloads: Sequence[Payload]) -> int:
    """The bytes that an operation sends, of the payloads that `TorchTransport.perform` is given with it."""
    return sum(
        payload.nbytes if isinstance(payload, torch.Tensor) else len(payload)
        for part, payload in zip(parts(op), payloads, strict=False)
        if isinstance(part, Send | Isend)
    )
