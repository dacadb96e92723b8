"""SMPI, SimGrid's MPI: a program as C, and whether SMPI says that it hangs.

SMPI reports a deadlock in its output while its exit status stays 0, so both are read. One run of it takes one
schedule, which decides where there is no wildcard receive (statement 1).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from model.program.checked import Program, parts
from model.program.ops import (
    ANY,
    NULL,
    Barrier,
    Batch,
    Compute,
    Irecv,
    Isend,
    Operation,
    Probe,
    Recv,
    RequestId,
    Send,
    Sendrecv,
    Wait,
)
from model.validation import tool

PACKAGES = "libsimgrid-dev"
TOOLS = {"smpicc": PACKAGES, "smpirun": PACKAGES, "cc": "gcc libc6-dev"}

_MODES = {"standard": "send", "sync": "ssend", "buffered": "bsend"}
_LOCAL = (Wait, Barrier, Compute, Batch)
_WILD = {ANY: "MPI_ANY_SOURCE", NULL: "MPI_PROC_NULL"}

_PLATFORM = """<?xml version='1.0'?>
<!DOCTYPE platform SYSTEM "https://simgrid.org/simgrid.dtd">
<platform version="4.1">
  <cluster id="all" prefix="h" radical="0-{last}" suffix="" speed="1Gf" bw="1GBps" lat="1us"/>
</platform>
"""

_MAIN = """#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {{
  int rank;
  MPI_Comm comms[{comms}];
  MPI_Request open[{requests}];
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  for (int i = 0; i < {comms}; i++) MPI_Comm_dup(MPI_COMM_WORLD, &comms[i]);
  char *out = malloc({most}), *in = malloc({most});
  MPI_Buffer_attach(malloc({buffered}), {buffered});
  switch (rank) {{
{cases}
  }}
  printf("finished %d\\n", rank);
  fflush(stdout);
  MPI_Barrier(MPI_COMM_WORLD);  // SMPI aborts where a message is sent to a rank that has left
  MPI_Finalize();
  return 0;
}}
"""


def hangs(program: Program, *, limit_s: float = 60.0) -> bool:
    """Whether SMPI ends in a deadlock. Raises ValueError where SMPI is missing, fails, or says neither."""
    tool.need(TOOLS)
    with tempfile.TemporaryDirectory(prefix="ringproof-smpi-") as name:
        folder = Path(name)
        (folder / "program.c").write_text(source(program))
        (folder / "platform.xml").write_text(_PLATFORM.format(last=len(program) - 1))
        status, said = tool.run(["smpicc", "-O0", "-w", "program.c", "-o", "program"], folder=folder, limit_s=limit_s)
        if status:
            raise ValueError(f"smpicc failed: {tool.last_line(said)}")
        command = ["smpirun", "-np", str(len(program)), "-platform", "platform.xml", "--cfg=smpi/host-speed:1Gf"]
        status, said = tool.run([*command, f"--cfg=smpi/tmpdir:{folder}", "./program"], folder=folder, limit_s=limit_s)
    stuck, through = "Deadlock detected" in said, len(re.findall(r"^finished \d+$", said, re.MULTILINE))
    if status or stuck == (through == len(program)):
        raise ValueError(f"smpirun ended with status {status} and {through} ranks: {tool.last_line(said)}")
    return stuck


def version() -> str:
    """What SimGrid calls itself. Raises ValueError where SMPI is missing."""
    tool.need(TOOLS)
    return tool.run(["smpirun", "-version"], folder=Path(), limit_s=60.0)[1].strip()


def source(program: Program) -> str:
    """The C program. Communicators are duplicates of MPI_COMM_WORLD; a batch is its operations and a wait for all."""
    every = [part for ops in program for op in ops for part in parts(op)]
    comms = list(dict.fromkeys(op.comm for op in every if not isinstance(op, _LOCAL))) or ["world"]
    sizes = [op.nbytes for op in every if isinstance(op, Send | Isend | Sendrecv)]
    kept = [op.nbytes for op in every if isinstance(op, Send | Isend) and op.mode == "buffered"]
    writers = [_Rank(comms, max([1, *sizes]), ops) for ops in program]
    return _MAIN.format(
        comms=len(comms),
        requests=max([1, *(len(writer.slots) for writer in writers)]),
        most=max([1, *sizes]),
        buffered=sum(kept) + 4096 * (len(kept) + 1),
        cases="\n".join(
            f"  case {rank}:\n" + "".join(f"    {line}\n" for line in writer.lines) + "    break;"
            for rank, writer in enumerate(writers)
        ),
    )


class _Rank:
    """The statements of one rank. slots: the place of each request among the open ones."""

    def __init__(self, comms: list[str], most: int, ops: tuple[Operation, ...]) -> None:
        self.comms, self.most = comms, most
        self.slots: dict[RequestId, int] = {}
        self.lines = [line for op in ops for line in self._lines(op)]

    def _lines(self, op: Operation) -> Iterator[str]:
        if isinstance(op, Batch):
            yield from (line for part in op.ops for line in self._lines(part))
            yield self._wait([part.request for part in op.ops])
        elif isinstance(op, Wait):
            yield self._wait(list(op.requests))
        elif isinstance(op, Barrier):
            yield "MPI_Barrier(MPI_COMM_WORLD);"
        elif isinstance(op, Send):
            yield f"MPI_{_MODES[op.mode].capitalize()}({self._out(op)});"
        elif isinstance(op, Isend):
            yield f"MPI_I{_MODES[op.mode]}({self._out(op)}, &open[{self._slot(op.request)}]);"
        elif isinstance(op, Recv):
            yield f"MPI_Recv(in, {self._in(op.peer, op.tag, op.comm)}, MPI_STATUS_IGNORE);"
        elif isinstance(op, Irecv):
            into = f"malloc({self.most})"  # what is posted together must not share its memory
            yield f"MPI_Irecv({into}, {self._in(op.peer, op.tag, op.comm)}, &open[{self._slot(op.request)}]);"
        elif isinstance(op, Probe):
            raise ValueError("SMPI polls in MPI_Probe, so it never reports a deadlock there; leave probes out")
        elif isinstance(op, Sendrecv):
            sent = f"out, {op.nbytes}, MPI_BYTE, {_peer(op.peer)}, {op.tag}"
            taken = self._in(op.source, op.source_tag, op.comm)
            yield f"MPI_Sendrecv({sent}, in, {taken}, MPI_STATUS_IGNORE);"

    def _out(self, op: Send | Isend) -> str:
        return f"out, {op.nbytes}, MPI_BYTE, {_peer(op.peer)}, {op.tag}, {self._comm(op.comm)}"

    def _in(self, peer: int, tag: int, comm: str) -> str:
        return f"{self.most}, MPI_BYTE, {_peer(peer)}, {_tag(tag)}, {self._comm(comm)}"

    def _wait(self, requests: list[RequestId]) -> str:
        return " ".join(f"MPI_Wait(&open[{self.slots[request]}], MPI_STATUS_IGNORE);" for request in requests)

    def _slot(self, request: RequestId) -> int:
        return self.slots.setdefault(request, len(self.slots))

    def _comm(self, comm: str) -> str:
        return f"comms[{self.comms.index(comm)}]"


def _peer(peer: int) -> str:
    return _WILD.get(peer, str(peer))


def _tag(tag: int) -> str:
    return "MPI_ANY_TAG" if tag == ANY else str(tag)
