"""Messages between ranks of one host through memory that they share: small tensors take less time than by sockets.

A ring of bytes for each rank, the next one in its column, and each tag: one writer, one reader, two counters. The
writer counts up after it has written, the reader after it has read; on x86 stores are seen in their order, and on
nothing else is this offered. Whoever waits polls at first, where there are cores enough, and then sleeps.

A send ends when its bytes are in the ring, so to the model a channel stores `SIZE` bytes.
"""

from __future__ import annotations

import ctypes
import os
import platform
import time
from collections.abc import Callable, Sequence
from multiprocessing.context import BaseContext
from typing import Any

import numpy as np
import torch

from model.serving import OUTPUT, PROXY

SIZE = 2**22
"""Bytes of a ring."""

PIECE = 2**18
"""Bytes after which the other side is told: so that it reads while the rest is written."""

SEMANTICS = f"fifo({SIZE})"
"""What the model calls this."""

POLLED = 0.05
"""Seconds of polling before sleeping, longer than a decode step, where each rank has cores to itself."""
NAP = 0.0002
"""Seconds between two looks of one who sleeps."""

_APART = 64  # bytes: counters of two processes on one cache line would slow both


class Rings:
    """All rings of a pipeline of `stages` times `tp` ranks. Made by the engine, handed to each rank at its start."""

    def __init__(self, context: BaseContext, *, stages: int, tp: int) -> None:
        ranks = stages * tp
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._polled = POLLED if cores >= 2 * ranks else 0.0
        # unlinked mappings: nothing is left on the machine, however the processes end
        self._memory: dict[tuple[int, int, int], Any] = {
            (rank, (rank + tp) % ranks, tag): context.RawArray(ctypes.c_uint8, 2 * _APART + SIZE)
            for rank in range(ranks)
            for tag in (PROXY, OUTPUT)
        }

    def group(self, rank: int) -> SharedGroup:
        """The rings of one rank, in its own process."""
        rings = {key: _Ring(memory, self._polled) for key, memory in self._memory.items() if rank in key[:2]}
        return SharedGroup(rank, rings)


class SharedGroup:
    """One rank's ends of its rings, as `HostStaged` uses a process group: `send` and `recv` of lists of one tensor."""

    def __init__(self, rank: int, rings: dict[tuple[int, int, int], _Ring]) -> None:
        self._rank, self._rings = rank, rings

    def send(self, tensors: Sequence[torch.Tensor], peer: int, tag: int) -> Work:
        """Returns when the bytes are in the ring, which waits for the reader where they do not fit."""
        self._rings[self._rank, peer, tag].write(tensors[0].numpy())
        return Work(None)

    def recv(self, tensors: Sequence[torch.Tensor], peer: int, tag: int) -> Work:
        """Takes the bytes when it is waited for. Receives of one ring must be waited for in their order."""
        ring, into = self._rings[peer, self._rank, tag], tensors[0].numpy()
        return Work(lambda: ring.read(into))


class Work:
    """What is left of a message."""

    def __init__(self, rest: Callable[[], None] | None) -> None:
        self._rest = rest

    def wait(self) -> None:
        """Returns when the message is over."""
        if self._rest is not None:
            self._rest()
            self._rest = None


class _Ring:
    def __init__(self, memory: Any, polled: float) -> None:
        whole = np.frombuffer(memory, dtype=np.uint8)
        self._written = whole[:8].view(np.int64)
        self._read = whole[_APART : _APART + 8].view(np.int64)
        self._data = whole[2 * _APART :]
        self._polled = polled

    def write(self, source: np.ndarray[Any, Any]) -> None:
        """Puts all bytes in, as room comes."""
        done, at = 0, int(self._written[0])
        while done < source.size:
            room = SIZE - (at - int(self._read[0]))
            if room == 0:
                self._wait(self._read, at - SIZE)
                continue
            count = min(room, source.size - done, PIECE, SIZE - at % SIZE)
            self._data[at % SIZE : at % SIZE + count] = source[done : done + count]
            done, at = done + count, at + count
            self._written[0] = at

    def read(self, into: np.ndarray[Any, Any]) -> None:
        """Takes as many bytes out as `into` has, as they come."""
        done, at = 0, int(self._read[0])
        while done < into.size:
            there = int(self._written[0]) - at
            if there == 0:
                self._wait(self._written, at)
                continue
            count = min(there, into.size - done, SIZE - at % SIZE)
            into[done : done + count] = self._data[at % SIZE : at % SIZE + count]
            done, at = done + count, at + count
            self._read[0] = at

    def _wait(self, counter: np.ndarray[Any, Any], past: int) -> None:
        began = time.perf_counter()
        while counter[0] <= past:
            # a sleep of no time lets this process's other threads have the interpreter
            time.sleep(0 if time.perf_counter() - began < self._polled else NAP)


def check() -> None:
    """Raises ValueError where processors may see stores in another order."""
    if platform.machine() not in ("x86_64", "AMD64"):
        raise ValueError(f"transport 'shared' is for x86-64, this is {platform.machine()}; choose --transport host")
