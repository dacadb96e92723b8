"""Messages between ranks of one host through memory that they share: small tensors take less time than by sockets.

A ring of bytes for each rank, the next one in its column, and each tag: one writer, one reader, two counters. The
writer counts up after it has written, the reader after it has read; on x86 stores are seen in their order, and on
nothing else is this offered. Whoever waits polls at first, where there are cores enough, and then sleeps.

A send ends when its bytes are in the ring, so to the model a channel stores `RING_BYTES` bytes.
"""

from __future__ import annotations

import ctypes
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Any

import numpy as np
import torch

from model.pipelines.serving import OUTPUT, PROXY, REQUESTS
from reference.config import HEARTBEAT

RING_BYTES = 2**22
"""Bytes of a ring."""

PIECE_BYTES = 2**18
"""Bytes after which the other side is told: so that it reads while the rest is written."""

RING_SEMANTICS = f"fifo({RING_BYTES})"
"""What the model calls this."""

SPIN_SECONDS = 0.05
"""Seconds of polling before sleeping, longer than a decode step, where each rank has cores to itself."""
SLEEP = 0.0002
"""Seconds between two looks of one who sleeps."""
IDLE_AFTER = 0.8 * HEARTBEAT
"""A wait as long as that of a rank that is only told, once a heartbeat, that there is nothing to do."""
IDLE_SLEEP = 0.002
"""Seconds between two looks for what comes after such a wait."""

_APART = 64  # bytes: counters of two processes on one cache line would slow both

_LENGTH = 8  # bytes of a counter, and of the number that says how many bytes follow

Bytes = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RingSet:
    """The rings of one rank, by sender, receiver and tag. `spin_seconds`: seconds of polling before it sleeps."""

    rank: int
    memory: Mapping[tuple[int, int, int], Any]
    spin_seconds: float

    def open(self) -> RingGroup:
        """The rank's ends of them, in its own process."""
        return RingGroup(self.rank, {key: _SpscRing(memory) for key, memory in self.memory.items()}, self.spin_seconds)


def make_rings(
    context: BaseContext, *, stages: int, tp: int, tags: Sequence[int] = (REQUESTS, PROXY, OUTPUT)
) -> list[RingSet]:
    """Those of every rank of a pipeline of `stages` times `tp` ranks, for messages with these tags. Made by the engine;
    each rank gets its own, at its start."""
    ranks = stages * tp
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    spin_seconds = SPIN_SECONDS if cores >= 2 * ranks else 0.0
    # unlinked mappings: nothing is left on the machine, however the processes end
    memory = {
        (rank, (rank + tp) % ranks, tag): context.RawArray(ctypes.c_uint8, 2 * _APART + RING_BYTES)
        for rank in range(ranks)
        for tag in tags
    }
    return [
        RingSet(
            rank=rank, memory={key: one for key, one in memory.items() if rank in key[:2]}, spin_seconds=spin_seconds
        )
        for rank in range(ranks)
    ]


class RingGroup:
    """One rank's ends of its rings, as `host_staged` uses a process group: `send` and `recv` of lists of one
    tensor. `meanwhile` is called again and again while something is waited for."""

    def __init__(self, rank: int, rings: dict[tuple[int, int, int], _SpscRing], spin_seconds: float) -> None:
        self._rank, self._rings, self._spin_seconds = rank, rings, spin_seconds
        self.meanwhile: Callable[[], object] = _nothing
        self._closed = False

    def close(self) -> None:
        """Whoever waits here waits no longer: a RuntimeError."""
        self._closed = True

    def send(self, payloads: Sequence[torch.Tensor | Bytes], peer: int, tag: int) -> RingWork:
        """Returns when the bytes are in the ring, which waits for the reader where they do not fit."""
        self._write(_array(payloads[0]), peer, tag)
        return RingWork(None)

    def recv(self, tensors: Sequence[torch.Tensor], peer: int, tag: int) -> RingWork:
        """Takes the bytes when it is waited for. Receives of one ring must be waited for in their order."""
        into = tensors[0].numpy()
        return RingWork(lambda: self._read(into, peer, tag))

    def check(self, peer: int, tag: int) -> None:
        """Raises ValueError unless this rank can send to the peer with this tag."""
        self._ring(self._rank, peer, tag)

    def fits(self, nbytes: int, peer: int, tag: int) -> bool:
        """Whether there is room for so many bytes now."""
        return self._ring(self._rank, peer, tag).room >= nbytes

    def try_send(self, payload: torch.Tensor | Bytes, peer: int, tag: int, *, begin: int = 0) -> int:
        """Puts in as many bytes, from `begin` on, as there is room for, which is how many; waits for nothing."""
        return self._ring(self._rank, peer, tag).put(_array(payload)[begin:])

    def recv_bytes(self, peer: int, tag: int) -> bytes:
        """What was framed and sent, once it is there."""
        length = np.empty(_LENGTH, dtype=np.uint8)
        self._read(length, peer, tag)
        content = np.empty(int.from_bytes(length.tobytes(), "little"), dtype=np.uint8)
        self._read(content, peer, tag)
        return content.tobytes()

    def poll_until(self, over: Callable[[], bool], ring: _SpscRing | None = None) -> None:
        """Waits, for a ring if that is what it is for."""
        if over():
            return
        idle = ring is not None and ring.idle
        spin_seconds, nap = (0.0, IDLE_SLEEP) if idle else (self._spin_seconds, SLEEP)
        began, waited = time.perf_counter(), 0.0
        while not over():
            if self._closed:
                raise RuntimeError("the rings were closed")
            self.meanwhile()
            if waited >= spin_seconds:
                time.sleep(nap)
            waited = time.perf_counter() - began
        if ring is not None:
            ring.idle = waited > IDLE_AFTER

    def _ring(self, sender: int, receiver: int, tag: int) -> _SpscRing:
        try:
            return self._rings[sender, receiver, tag]
        except KeyError:
            raise ValueError(f"there is no ring from rank {sender} to rank {receiver} with tag {tag}") from None

    def _write(self, source: Bytes, peer: int, tag: int) -> None:
        ring, done = self._ring(self._rank, peer, tag), 0
        while (done := done + ring.put(source[done:])) < source.size:
            self.poll_until(lambda: ring.room > 0, ring)

    def _read(self, into: Bytes, peer: int, tag: int) -> None:
        ring, done = self._ring(peer, self._rank, tag), 0
        while (done := done + ring.take(into[done:])) < into.size:
            self.poll_until(lambda: ring.filled > 0, ring)


class RingWork:
    """What is left of a message."""

    def __init__(self, rest: Callable[[], None] | None) -> None:
        self._rest = rest

    def wait(self) -> None:
        """Returns when the message is over."""
        if self._rest is not None:
            self._rest()
            self._rest = None


def frame(data: bytes) -> Bytes:
    """A message that `recv_bytes` finds out the length of."""
    return np.frombuffer(len(data).to_bytes(_LENGTH, "little") + data, dtype=np.uint8)


def _nothing() -> None:
    """There is nothing else to do."""


def _array(payload: torch.Tensor | Bytes) -> Bytes:
    return payload.numpy() if isinstance(payload, torch.Tensor) else payload


class _SpscRing:
    """One process's view of a ring. `idle`: whether its last wait for it was a long one."""

    def __init__(self, memory: Any) -> None:
        self.idle = False
        whole = np.frombuffer(memory, dtype=np.uint8)
        self._written = whole[:_LENGTH].data.cast("q")
        self._read = whole[_APART : _APART + _LENGTH].data.cast("q")
        self._data = whole[2 * _APART :]

    @property
    def filled(self) -> int:
        """Bytes that are there."""
        return self._written[0] - self._read[0]

    @property
    def room(self) -> int:
        """Bytes that still fit."""
        return RING_BYTES - self.filled

    def put(self, source: Bytes) -> int:
        """Puts in what there is room for, in pieces; how much that was."""
        done, at = 0, self._written[0]
        while count := min(self.room, source.size - done, PIECE_BYTES, RING_BYTES - at % RING_BYTES):
            self._data[at % RING_BYTES : at % RING_BYTES + count] = source[done : done + count]
            done, at = done + count, at + count
            self._written[0] = at
        return done

    def take(self, into: Bytes) -> int:
        """Takes out what is there and wanted, in pieces; how much that was."""
        done, at = 0, self._read[0]
        while count := min(self.filled, into.size - done, PIECE_BYTES, RING_BYTES - at % RING_BYTES):
            into[done : done + count] = self._data[at % RING_BYTES : at % RING_BYTES + count]
            done, at = done + count, at + count
            self._read[0] = at
        return done


def supported() -> bool:
    """Whether processors here see stores in the order in which they are made."""
    return platform.machine() in ("x86_64", "AMD64")


def check_supported(option: str = "transport") -> None:
    """Raises ValueError where that is not so, for the option that asks for it."""
    if not supported():
        raise ValueError(f"{option} 'shared' is for x86-64, this is {platform.machine()}; leave it out")
