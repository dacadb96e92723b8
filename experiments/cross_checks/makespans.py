"""Makespans beside the model's: a program as actors of SimGrid (s4u)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model.events.simulator import simulate
from model.events.timing import Timing
from model.program.checked import Program
from model.program.ops import Batch, Compute, Irecv, Isend, Operation, Recv, Send, Wait
from model.semantics.columns import columns_of
from model.semantics.libraries import semantics
from model.semantics.lowering import lower
from model.validation import tool

PYTHON = "/usr/bin/python3"
"""Debian's own: the module belongs to it, and an environment of ours does not see it."""

ACTORS = Path(__file__).with_name("simgrid_actors.py")

CLOSE = 1e-9
"""SimGrid counts time in floating-point numbers; relative difference up to which makespans are equal."""

TIMING = Timing(latency=1000, overhead=30, per_byte=2.0)


def compare_makespans(program: Program, library: str, *, stored: bool, limit_s: float) -> dict[str, Any]:
    """Both makespans of a program in ticks, None where it hangs, and whether they agree."""
    ours = simulate(columns_of(lower(program, semantics(library))), TIMING).makespan
    theirs = simgrid_makespan(program, stored=stored, timing=TIMING, limit_s=limit_s)
    return {"makespan": ours, "simgrid": theirs, "agree": equal(ours, theirs)}


def equal(ours: int | None, theirs: float | None) -> bool:
    """Whether two makespans are the same, up to the precision of floating-point numbers."""
    if ours is None or theirs is None:
        return ours is theirs
    return math.isclose(ours, theirs, rel_tol=CLOSE)


def simgrid_makespan(made: Program, *, stored: bool, timing: Timing, limit_s: float = 60.0) -> float | None:
    """Makespan, in ticks, of a program as actors of SimGrid; None where it hangs.

    stored: whether every message is stored at once or none is. Raises ValueError where SimGrid's module is missing,
    and on what the actors do not have: a gap, tags, communicators, wildcards, probes, barriers, modes of sends.
    """
    if timing.gap:
        raise ValueError(f"gap is {timing.gap}; the actors of SimGrid have none")
    if not 0 < timing.per_byte <= timing.latency:
        raise ValueError(f"per_byte is {timing.per_byte}; give more than 0, and no more than the latency")
    given = {
        "latency": timing.latency,
        "per_byte": timing.per_byte,
        "overhead": timing.overhead,
        "stored": stored,
        "programs": [[item for op in ops for item in _actor_operations(op, timing)] for ops in made],
    }
    tool.need({PYTHON: "python3-simgrid"})
    command = [PYTHON, "-I", str(ACTORS)]  # -I: a folder with a file simgrid.py must not be searched for the module
    status, said = tool.run(command, folder=ACTORS.parent, limit_s=limit_s, given=json.dumps(given))
    if "No module named 'simgrid'" in said:
        raise ValueError(f"{PYTHON} has no module simgrid; on Debian: apt-get install python3-simgrid")
    if status:
        raise ValueError(f"the actors of SimGrid failed: {tool.last_line(said)}")
    found = json.loads(tool.last_line(said))
    return float(found["makespan"]) if found["finished"] == len(made) else None


def _actor_operations(op: Operation, timing: Timing) -> Iterator[list[Any]]:
    if isinstance(op, Batch):
        for part in op.ops:
            yield from _actor_operations(part, timing)
        yield ["wait", *(str(part.request) for part in op.ops)]
    elif isinstance(op, Wait):
        yield ["wait", *map(str, op.requests)]
    elif isinstance(op, Compute):
        yield ["compute", round(op.seconds / timing.tick)]
    elif not isinstance(op, Send | Isend | Recv | Irecv) or op.peer < 0 or (op.tag, op.comm) != (0, "world"):
        raise ValueError(f"the actors of SimGrid have no {op!s}; give sends, receives and waits without tags")
    elif isinstance(op, Send | Isend):
        if op.mode != "standard":
            raise ValueError(f"the actors of SimGrid have no {op!s}; give send or isend")
        yield [op.kind, op.peer, op.nbytes, *([str(op.request)] if isinstance(op, Isend) else [])]
    else:
        yield [op.kind, op.peer, *([str(op.request)] if isinstance(op, Irecv) else [])]
