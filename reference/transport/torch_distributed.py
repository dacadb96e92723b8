"""Performs the operations of `model.program.ops` on torch.distributed, one logical operation a message.

A receiver knows the shape of what comes from its own schedule, so tensors travel bare. Bytes (the requests)
travel as two messages: their number, and they themselves if there are any.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist

from model.program.ops import Barrier, Batch, Compute, Irecv, Isend, Operation, Recv, RequestId, Send, Wait
from reference.transport.base import Payload, PeerLost


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    """A send or receive under way. `payload` is held because the library reads or writes it until the end."""

    peer: int
    works: tuple[dist.Work, ...]
    payload: tuple[torch.Tensor, ...]


class TorchTransport:
    """The operations of one rank.

    groups: the process group of every communicator. blocking: communicators on which an isend does not
    return before the matching receive is posted, polling meanwhile, as reported for XCCL; the message itself
    goes through the group as ever.
    """

    def __init__(self, groups: Mapping[str, dist.ProcessGroup], blocking: frozenset[str] = frozenset()) -> None:
        self._groups = dict(groups)
        self._blocking = blocking
        self._open: dict[RequestId, _Open] = {}
        # of all ways to ask whether a send is over, only waiting for it in a thread answers: gloo's is_completed
        # stays false, and a wait that times out closes the connection
        self._waiter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="isend") if blocking else None

    def perform(self, op: Operation, *payloads: Payload) -> Any:
        """Performs one operation; returns what a Recv received.

        payloads: what a send sends; the tensor that a receive fills (a Recv without one receives bytes); one
        of either for each part of a batch; none for a wait. Raises PeerLost where a connection breaks.
        """
        match op:
            case Send():
                self._finish(self._send(op, payloads[0]))
            case Recv():
                return self._recv(op, payloads[0]) if payloads else self._recv_bytes(op)
            case Isend():
                started = self._send(op, payloads[0])
                if self._waiter is not None and op.comm in self._blocking:
                    self._poll(self._waiter, started)
                    if started.payload[0].is_cpu:  # a second wait for the same send would never return
                        started = replace(started, works=())
                self._open[op.request] = started
            case Irecv():
                self._open[op.request] = self._post_recv(op, _tensor(payloads[0]))
            case Wait():
                for request in op.requests:
                    self._finish(self._open.pop(request))
            case Batch():
                self._batch(op, payloads)
            case _:
                raise ValueError(f"{op} is nothing that torch.distributed performs; leave it out")
        return None

    def waits_for(self, op: Operation) -> int | None:
        """The rank whose answer the operation needs first, or None."""
        match op:
            case Wait():
                return next((self._open[request].peer for request in op.requests if request in self._open), None)
            case Batch():
                return op.ops[0].peer
            case Compute() | Barrier():
                return None
            case _:
                return op.peer

    @property
    def recv_device(self) -> torch.device | None:
        """Where to receive what the host needs anyhow; None for the device, whose library takes only its tensors."""
        return None

    def host_recv_buffer(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor | None:
        """Where to receive what the device needs, if anywhere but on the device."""
        return None

    def close(self) -> None:
        """Ends the helper thread; requests still open are dropped."""
        self._open.clear()
        if self._waiter is not None:
            self._waiter.shutdown(wait=False, cancel_futures=True)

    def _group(self, op: Send | Isend | Recv | Irecv) -> dist.ProcessGroup:
        """The operation's group. Of a peer that it has not, gloo would read beyond its list, or wait for ever."""
        group = self._groups[op.comm]
        if not 0 <= op.peer < group.size():
            raise ValueError(f"there is no rank {op.peer} in {op.comm}; ranks are 0 to {group.size() - 1}")
        return group

    def _send(self, op: Send | Isend, payload: Payload) -> _Open:
        group = self._group(op)
        tensors = (payload.contiguous(),) if isinstance(payload, torch.Tensor) else _frame(payload)
        try:
            works = [dist.isend(tensor, op.peer, group=group, tag=op.tag) for tensor in tensors]
        except RuntimeError as error:
            raise PeerLost(op.peer, str(error)) from None
        return _Open(peer=op.peer, works=tuple(work for work in works if work is not None), payload=tensors)

    def _post_recv(self, op: Recv | Irecv, into: torch.Tensor) -> _Open:
        group = self._group(op)
        try:
            work = dist.irecv(into, op.peer, group=group, tag=op.tag)
        except RuntimeError as error:
            raise PeerLost(op.peer, str(error)) from None
        return _Open(peer=op.peer, works=() if work is None else (work,), payload=(into,))

    def _recv(self, op: Recv, into: Payload) -> torch.Tensor:
        tensor = _tensor(into)
        self._finish(self._post_recv(op, tensor))
        return tensor

    def _recv_bytes(self, op: Recv) -> bytes:
        count = int(self._recv(op, torch.empty(1, dtype=torch.int64)))
        return bytes(self._recv(op, torch.empty(count, dtype=torch.uint8)).numpy()) if count else b""

    def _batch(self, op: Batch, payloads: Sequence[Payload]) -> None:
        parts = [
            dist.P2POp(
                dist.isend if isinstance(part, Isend) else dist.irecv,
                _tensor(payload),
                part.peer,
                group=self._group(part),
                tag=part.tag,
            )
            for part, payload in zip(op.ops, payloads, strict=True)
        ]
        peer = op.ops[0].peer
        try:
            works = dist.batch_isend_irecv(parts)
        except RuntimeError as error:
            raise PeerLost(peer, str(error)) from None
        self._finish(_Open(peer=peer, works=tuple(works), payload=tuple(part.tensor for part in parts)))

    def _finish(self, started: _Open) -> None:
        try:
            for work in started.works:
                work.wait()
        except RuntimeError as error:
            raise PeerLost(started.peer, str(error)) from None

    def _poll(self, waiter: ThreadPoolExecutor, started: _Open) -> None:
        over = waiter.submit(self._finish, started)
        while not over.done():
            time.sleep(0)  # a busy poll, as the real one; it only lets the waiting thread have the interpreter
        over.result()


def _tensor(payload: Payload) -> torch.Tensor:
    assert isinstance(payload, torch.Tensor), "only Isend, Send and Recv carry bytes"
    return payload


def _frame(data: bytes) -> tuple[torch.Tensor, ...]:
    size = torch.tensor([len(data)], dtype=torch.int64)
    return (size, torch.frombuffer(bytearray(data), dtype=torch.uint8)) if data else (size,)
