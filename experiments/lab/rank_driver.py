"""What the ranks of a process group do: perform programs on a real library and count their progress.

The operations performed are those that the model reasons about, by the transport that serves.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from experiments.lab.progress import ProgressCounters
from model.program.json_form import from_json, to_json
from model.program.ops import Batch, Irecv, Isend, Operation, Recv, RequestId, Send, Wait


class Transport(Protocol):
    """Performs one operation, given the buffer of each message that it sends or receives; see `reference.transport`."""

    def perform(self, op: Operation, /, *payloads: Any) -> Any: ...


class Probe(Protocol):
    """A program to be performed. All its messages have the same size."""

    @property
    def ranks(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def program(self) -> Sequence[Sequence[Operation]]: ...


def write_job(path: Path, probes: Sequence[Probe], *, limit_s: float) -> None:
    """The file from which every rank of a group reads what to perform."""
    job = {
        "limit_s": limit_s,
        "probes": [
            {"nbytes": probe.nbytes, "program": [[to_json(op) for op in ops] for ops in probe.program()]}
            for probe in probes
        ],
    }
    path.write_text(json.dumps(job))


def run_rank(
    job: Path,
    counters: ProgressCounters,
    rank: int,
    *,
    fresh: Callable[[], Transport],
    buffer: Callable[[int, int], Any],
    equal: Callable[[Any, Any], bool],
) -> None:
    """The life of one rank: every probe of the job in turn.

    fresh: called by all ranks before each probe, so that no probe meets the messages of another.
    buffer(n, byte): a new buffer of n bytes, all of that value. equal: whether two of them hold the same.
    """
    counters.set_pid(rank, os.getpid())
    plan: Mapping[str, Any] = json.loads(job.read_text())
    for number, probe in enumerate(plan["probes"]):
        # the alarm ends a rank that hangs inside of the library even when its watcher was killed
        signal.setitimer(signal.ITIMER_REAL, 2 * plan["limit_s"])
        run_operations(
            [from_json(op) for op in probe["program"][rank]],
            fresh(),
            rank=rank,
            buffer=partial(buffer, probe["nbytes"]),
            equal=equal,
            count=partial(counters.set, rank, number),
        )


def run_operations(
    operations: Sequence[Operation],
    transport: Transport,
    *,
    rank: int,
    buffer: Callable[[int], Any],
    equal: Callable[[Any, Any], bool],
    count: Callable[[int], None],
) -> None:
    """Do the operations of a rank in order. `count(n)` says that n of them are done, so operation n comes next.

    buffer(byte): a new buffer full of it. Raises RuntimeError where a received message is not the one that
    its sender sends.
    """
    outgoing = buffer(_byte_of(rank))

    def check(peer: int, received: Any) -> None:
        if not equal(received, buffer(_byte_of(peer))):
            raise RuntimeError(f"the message received from rank {peer} is not the one that it sent")

    inbox: dict[RequestId, tuple[int, Any]] = {}
    count(0)
    for done, op in enumerate(operations, start=1):
        parts = op.ops if isinstance(op, Batch) else () if isinstance(op, Wait) else (op,)
        buffers = [outgoing if isinstance(part, Send | Isend) else buffer(0) for part in parts]
        transport.perform(op, *buffers)
        if isinstance(op, Irecv):
            inbox[op.request] = (op.peer, buffers[0])
        elif isinstance(op, Wait):
            for request in op.requests:
                if request in inbox:
                    check(*inbox.pop(request))
        else:
            for part, received in zip(parts, buffers, strict=True):
                if isinstance(part, Recv | Irecv):
                    check(part.peer, received)
        count(done)


def _byte_of(rank: int) -> int:
    """The value of every byte that a rank sends; never 0, with which receive buffers begin."""
    return rank % 255 + 1
