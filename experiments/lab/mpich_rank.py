"""One rank of a process group on MPICH: `mpiexec -n P python -m experiments.lab.mpich_rank JOB COUNTERS`."""

from __future__ import annotations

import operator
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mpi4py import MPI

from experiments.lab.progress import ProgressCounters
from experiments.lab.rank_driver import run_rank
from model.program.ops import Batch, Compute, Irecv, Isend, Operation, Recv, RequestId, Send, Wait


class MpiTransport:
    """MPI's standard-mode calls, on a communicator of its own."""

    def __init__(self, comm: MPI.Intracomm) -> None:
        self._comm = comm
        self._open: dict[RequestId, MPI.Request] = {}

    def perform(self, op: Operation, /, *payloads: Any) -> None:
        """One operation, with the buffer of each message that it sends or receives."""
        match op:
            case Send():
                self._comm.Send(payloads[0], op.peer, op.tag)
            case Recv():
                self._comm.Recv(payloads[0], op.peer, op.tag)
            case Isend() | Irecv():
                self._open[op.request] = self._start(op, payloads[0])
            case Wait():
                MPI.Request.Waitall([self._open.pop(request) for request in op.requests])
            case Batch():
                MPI.Request.Waitall([self._start(*pair) for pair in zip(op.ops, payloads, strict=True)])
            case Compute():
                raise ValueError(f"{op} is no communication; a probe performs communication only")

    def _start(self, op: Isend | Irecv, payload: Any) -> MPI.Request:
        start = self._comm.Isend if isinstance(op, Isend) else self._comm.Irecv
        return start(payload, op.peer, op.tag)


def main(arguments: Sequence[str]) -> int:
    """The life of the rank; exit status 2 where the library is not MPICH."""
    world = MPI.COMM_WORLD
    version = MPI.Get_library_version()
    if not version.startswith("MPICH"):
        print(f"error: mpi4py uses {version.splitlines()[0]}, not MPICH; unset MPI4PY_LIBMPI", file=sys.stderr)
        return 2
    _unlink_shared_memory(world)
    job, counters = arguments
    run_rank(
        Path(job),
        ProgressCounters(Path(counters), world.size),
        world.rank,
        fresh=lambda: MpiTransport(world.Dup()),
        buffer=lambda nbytes, byte: bytearray([byte]) * nbytes,
        equal=operator.eq,
    )
    return 0


def _unlink_shared_memory(world: MPI.Intracomm) -> None:
    """Take the names of MPICH's shared memory away once every rank has mapped it: a killed rank cannot do it later."""
    world.Barrier()
    maps = Path("/proc/self/maps")
    if maps.exists():
        for line in maps.read_text().splitlines():
            if "/dev/shm/mpich" in line:
                Path(line.split(maxsplit=5)[5]).unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
