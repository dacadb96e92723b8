"""Performs the operations of `model.program` where no library takes the device's tensors: through the host's memory.

A tensor goes device -> pinned host buffer -> the hosts' group -> pinned host buffer -> device, in chunks, so that
copies and sockets work at the same time. An isend returns when its copies are queued. `send_queue` then hands
the chunks to the group, whose promise is therefore that of the whole way.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from model.pipelines.serving import DATA
from model.program.ops import Batch, Irecv, Isend, Operation, Recv, RequestId, Send, Wait
from reference.device import HOST, Device
from reference.transport.base import Payload, PeerLost
from reference.transport.send_queue import PendingSend, PolledSendQueue, SendQueue, ThreadSendQueue
from reference.transport.shared_memory import RingGroup, RingWork, frame
from reference.transport.torch_distributed import TorchTransport

CHUNK_BYTES = 2**20
"""Bytes of a piece of a message: large enough for the socket, small enough to keep the copies beside it. Sender and
receiver cut alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingRecv:
    """A receive that is posted: chunk by chunk of `buffer` it comes to be copied into `into`."""

    op: Recv | Irecv
    buffer: torch.Tensor | None
    works: Sequence[dist.Work | RingWork]
    into: torch.Tensor


class Buffers:
    """Host buffers that are kept and used again, by size. A buffer is free once the event of its last use is over."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._free: dict[int, list[tuple[torch.Tensor, Any]]] = {}
        self.made = 0

    def take(self, nbytes: int) -> torch.Tensor:
        """A buffer of at least so many bytes, to be given back."""
        size = max(4096, 1 << (nbytes - 1).bit_length())
        free = self._free.setdefault(size, [])
        for at, (buffer, over) in enumerate(free):
            if over is None or over.query():
                del free[at]
                return buffer
        self.made += 1
        return self._device.host_buffer(size)

    def give(self, buffer: torch.Tensor, over: Any = None) -> None:
        """Gives a buffer back, free at once or when the event `over` has happened."""
        self._free[buffer.numel()].append((buffer, over))


class HostStagedTransport:
    """The operations of one rank, as `Transport` has them. Tensors in host memory need no staging and go as ever.

    groups: as for `TorchTransport`; of a staged communicator also a `RingGroup`, which carries bytes, too. staged: the
    communicators whose groups are between hosts while their tensors may be a device's; the others are as in
    `TorchTransport`. blocking: as there. collective: whether the rank waits elsewhere, too.
    """

    def __init__(
        self,
        groups: Mapping[str, Any],
        device: Device,
        *,
        staged: Collection[str],
        blocking: frozenset[str] = frozenset(),
        collective: bool = False,
    ) -> None:
        self._groups, self._device, self._staged = dict(groups), device, frozenset(staged)
        self._blocking = blocking
        self._direct = TorchTransport(groups, blocking=blocking - self._staged)
        self._waiter = ThreadPoolExecutor(1, thread_name_prefix="isend") if blocking & self._staged else None
        self._buffers = Buffers(device)
        self._copies = device.stream()
        self._open: dict[RequestId, PendingSend | PendingRecv] = {}
        rings = next((group for group in groups.values() if isinstance(group, RingGroup)), None)
        self._send_queue: SendQueue
        if rings is not None and not collective:
            self._send_queue = PolledSendQueue(rings)
        else:
            self._send_queue = ThreadSendQueue(self._groups, sends_block=rings is not None)

    def perform(self, op: Operation, *payloads: Payload) -> Any:
        """Performs one operation; returns what a Recv received. Contract and errors as `Transport.perform`."""
        match op:
            case Wait():
                for request in op.requests:
                    if request in self._open:
                        self._finish(self._open.pop(request))
                    else:
                        self._direct.perform(Wait(requests=(request,)))
            case Batch() if all(part.comm in self._staged for part in op.ops):
                started = [self._start(part, payload) for part, payload in zip(op.ops, payloads, strict=True)]
                for one in sorted(started, key=lambda one: isinstance(one, PendingSend)):  # a send may wait for room
                    self._finish(one)
            case Recv() if op.comm in self._staged and not payloads:
                return self._groups[op.comm].recv_bytes(op.peer, op.tag)
            case Send() | Isend() | Recv() | Irecv() if op.comm in self._staged:
                started_one = self._start(op, payloads[0])
                if isinstance(op, Send | Recv):
                    self._finish(started_one)
                    return payloads[0] if isinstance(op, Recv) else None
                if isinstance(started_one, PendingSend) and self._waiter is not None and op.comm in self._blocking:
                    self._poll(self._waiter, started_one)
                self._open[op.request] = started_one
            case _:
                return self._direct.perform(op, *payloads)
        return None

    def waits_for(self, op: Operation) -> int | None:
        """The rank whose answer the operation needs first, or None."""
        if isinstance(op, Wait):
            peers = [self._open[request].op.peer for request in op.requests if request in self._open]
            return peers[0] if peers else self._direct.waits_for(op)
        return self._direct.waits_for(op)

    def close(self) -> None:
        """Ends the helper threads; requests still open are dropped."""
        self._open.clear()
        self._send_queue.close()
        if self._waiter is not None:
            self._waiter.shutdown(wait=False, cancel_futures=True)
        self._direct.close()

    @property
    def recv_device(self) -> torch.device | None:
        """Where to receive what the host needs anyhow: there it needs no copy. None as in `Transport`."""
        return torch.device(HOST) if DATA in self._staged else None

    def host_recv_buffer(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor | None:
        """Host memory, for what is so small that the device may as well fetch it when it is used; else None."""
        nbytes = math.prod(shape) * dtype.itemsize
        if self._device.is_host or nbytes > CHUNK_BYTES or DATA not in self._staged:
            return None
        return self._device.host_buffer(nbytes).view(dtype).view(shape)

    def _start(self, op: Send | Isend | Recv | Irecv, payload: Payload) -> PendingSend | PendingRecv:
        if isinstance(op, Send | Isend):
            if isinstance(payload, bytes):
                message = frame(payload)
                return self._put(PendingSend(op=op, buffer=None, chunks=(message,), copied=(), payload=message))
            return self._send(op, payload)
        assert isinstance(payload, torch.Tensor), "only Send, Isend and Recv carry bytes"
        return self._receive(op, payload)

    def _send(self, op: Send | Isend, payload: torch.Tensor) -> PendingSend:
        """Queues the copies. Payload and buffer are held until the message is waited for."""
        flat = _bytes(payload.contiguous())
        if not self._staged_at_all(payload):  # it is there already, whatever the device has still to do
            return self._put(PendingSend(op=op, buffer=None, chunks=_cut(flat), copied=(), payload=flat))
        buffer = self._buffers.take(flat.numel())
        pieces = _cut(buffer[: flat.numel()])
        copied = []
        stream = self._device.current_stream()
        if flat.numel() > CHUNK_BYTES:  # less is copied sooner than another stream has learnt of it
            self._copies.wait_stream(stream)
            stream = self._copies
        with self._device.on_stream(stream):
            for piece, source in zip(pieces, _cut(flat), strict=True):
                piece.copy_(source, non_blocking=True)
                copied.append(stream.record_event())
        return self._put(PendingSend(op=op, buffer=buffer, chunks=pieces, copied=copied, payload=flat))

    def _put(self, out: PendingSend) -> PendingSend:
        self._send_queue.put(out)
        return out

    def _receive(self, op: Recv | Irecv, into: torch.Tensor) -> PendingRecv:
        """Posts the receive of every chunk. A tensor in host memory is received in place."""
        assert into.is_contiguous(), "received into a tensor of its own"
        flat = _bytes(into)
        buffer = self._buffers.take(flat.numel()) if self._staged_at_all(into) else None
        target = flat if buffer is None else buffer[: flat.numel()]
        group = self._groups[op.comm]
        try:
            works = [group.recv([piece], op.peer, op.tag) for piece in _cut(target)]
        except RuntimeError as error:
            raise PeerLost(op.peer, str(error)) from None
        return PendingRecv(op=op, buffer=buffer, works=works, into=flat)

    def _staged_at_all(self, tensor: torch.Tensor) -> bool:
        """Whether the tensor is the device's; a device that is a host itself stages all, so that tests can."""
        return self._device.is_host or tensor.device.type != HOST

    def _finish(self, started: PendingSend | PendingRecv) -> None:
        if isinstance(started, PendingSend):
            self._send_queue.finish(started)
            if started.buffer is not None:
                self._buffers.give(started.buffer)
            return
        if started.buffer is None:
            self._wait(started.op.peer, started.works)
            return
        pieces = zip(_cut(started.into), _cut(started.buffer[: started.into.numel()]), started.works, strict=True)
        for piece, source, work in pieces:
            self._wait(started.op.peer, [work])
            piece.copy_(source, non_blocking=True)  # on the stream on which the tensor will be used
        self._buffers.give(started.buffer, self._device.current_stream().record_event())

    def _wait(self, peer: int, works: Sequence[dist.Work | RingWork]) -> None:
        for work in works:
            try:
                work.wait()
            except RuntimeError as error:
                if isinstance(work, RingWork):  # through a ring nobody is lost: it is the device that failed
                    raise
                raise PeerLost(peer, str(error)) from None

    def _poll(self, waiter: ThreadPoolExecutor, out: PendingSend) -> None:
        """Lets the isend return no earlier than its receive is posted, polling, as `TorchTransport` does."""
        assert out.event is not None, "only a thread's group blocks"
        out.event.wait()
        over = waiter.submit(self._wait, out.op.peer, tuple(out.works))
        while not over.done():
            time.sleep(0)
        over.result()
        out.works.clear()


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.view(-1).view(torch.uint8)


def _cut(flat: torch.Tensor) -> Sequence[torch.Tensor]:
    return flat.split(CHUNK_BYTES) if flat.numel() else ()
