"""SPIN as an outside judge: runs spin, the C compiler and the verifier, and holds what they say against the model."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from model.program.checked import Program
from model.semantics.columns import columns_of
from model.semantics.guards import guards_of
from model.semantics.lowering import lower
from model.semantics.parameters import Semantics, SemanticsByComm
from model.states.bfs import one_schedule
from model.states.machine import Machine
from model.states.packed_bfs import Counts, search
from model.states.position_guards import Guard, GuardsByThread
from model.validation import tool
from model.validation.promela import to_promela

Verdict = Literal["ok", "deadlock", "lost"]

FULL = ("-DSAFETY", "-DNOREDUCE", "-DNOFAIR", "-DNOBOUNDCHECK")
"""The whole state space, of a verifier that checks end states and nothing else."""

TOOLS = {"spin": "spin", "cc": "gcc libc6-dev"}
MEGABYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class SpinResult:
    """What SPIN says of a model. seconds: of the verifier's own search; compile_seconds: of spin and cc."""

    verdict: Verdict
    states: int
    transitions: int
    seconds: float
    compile_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """SPIN beside the model, on one program in one encoding. `agree`: same verdict and same number of states."""

    agree: bool
    verdict: Verdict
    states: int
    transitions: int
    spin: SpinResult

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types, one key a field."""
        return asdict(self)


def compare(program: Program, semantics: Semantics | SemanticsByComm, *, limit_s: float, max_states: int) -> Comparison:
    """Both on a program in the encoding `straight`.

    Raises ValueError where there is no spin or cc, past the limit of seconds or states, and where the program
    has no export.
    """
    lowered = lower(program, semantics)
    guards = guards_of(columns_of(lowered))
    machine = Machine(guards)
    (ending,) = one_schedule(machine).endings
    left = bool(len(guards.unreceived(np.array(ending.state, dtype=np.int64))))  # the same of every run (statement 1)
    verdict = verdict_of(machine.code, search(machine.code, max_states=max_states), lost=left)
    counts = search(spin_processes(machine.code, init=False), max_states=max_states)
    return comparison(verdict, counts, run_spin(to_promela(lowered), limit_s=limit_s))


def spin_processes(guards: GuardsByThread, *, init: bool) -> GuardsByThread:
    """The same program as processes of SPIN, which end in their own steps, the last one created first.

    A process needs a statement, so a thread without instructions has one, which passes.

    With `init`, one more process, the last of the result and the first created, lets all others start in
    its first step and is the last to end; so are the states that SPIN counts under the encoding `loop`.
    """
    guards = tuple(code or (Guard(),) for code in guards)
    ends = [Guard(needs=((rank + 1, len(younger) + 1),)) for rank, younger in enumerate(guards[1:])]
    ranks = [(*code, end) for code, end in zip(guards, [*ends, Guard()], strict=True)]
    if init:
        assert all(code[0] == Guard() for code in ranks)  # a start that waits for init must not meet anybody
        ranks = [(Guard(needs=((len(guards), 1),)), *code[1:]) for code in ranks]
        ranks.append((Guard(), Guard(needs=((0, len(ranks[0])),))))
    return tuple(ranks)


def run_spin(text: str, *, limit_s: float, options: Sequence[str] = ("-O0", *FULL)) -> SpinResult:
    """Every state of a Promela model; `options` are those of the C compiler.

    All end states are looked at, not only those up to the first error. A process that is not at its end
    makes a deadlock; else a message left in a channel makes it lost.
    """
    tool.need(TOOLS)
    with tempfile.TemporaryDirectory(prefix="ringproof-spin-") as name:
        folder = Path(name)
        (folder / "model.pml").write_text(text)
        began = time.monotonic()
        said = _run(["spin", "-a", "-o1", "-o2", "-o3", "model.pml"], folder, limit_s)
        if not (folder / "pan.c").exists() or "Error" in said:
            raise ValueError(f"spin refuses the model: {said.strip()}")
        _run(["cc", "-w", *options, f"-DMEMLIM={MEGABYTES}", "-o", "pan", "pan.c"], folder, limit_s)
        compiled = time.monotonic() - began
        deadlock, states, transitions, seconds = _pan(folder, limit_s, ())
        lost = not deadlock and _pan(folder, limit_s, ("-q",))[0]
    return SpinResult(
        verdict="deadlock" if deadlock else "lost" if lost else "ok",
        states=states,
        transitions=transitions,
        seconds=seconds,
        compile_seconds=compiled,
    )


def version() -> str:
    """What spin says of itself. Raises ValueError where spin or cc is missing."""
    tool.need(TOOLS)
    return subprocess.run(["spin", "-V"], capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def _pan(folder: Path, limit_s: float, options: Sequence[str]) -> tuple[bool, int, int, float]:
    """(whether there was an error, states, transitions, seconds: its own, of the process where it says none)."""
    began = time.monotonic()
    said = _run(["./pan", "-c0", "-n", "-m1000000", "-w22", *options], folder, limit_s)
    seconds = time.monotonic() - began
    numbers = [
        re.search(pattern, said) for pattern in (r"errors: (\d+)", r"(\d+) states, stored", r"(\d+) transitions")
    ]
    if "max search depth too small" in said or "out of memory" in said or not all(numbers):
        raise ValueError(f"the verifier did not finish; it said: {' '.join(said.split())[-200:]}")
    own = re.search(r"elapsed time (\d+\.?\d*)", said)
    seconds = float(own[1]) if own and float(own[1]) > 0 else seconds
    errors, states, transitions = (int(number[1]) for number in numbers if number)
    return errors > 0, states, transitions, seconds


def _run(command: Sequence[str], folder: Path, limit_s: float) -> str:
    """What a command says; ValueError where it fails, but for the verifier, whose errors are what it finds."""
    status, said = tool.run(command, folder=folder, limit_s=limit_s)
    if status and command[0] != "./pan":
        raise ValueError(f"{command[0]} failed: {tool.last_line(said)}")
    return said


def verdict_of(guards: GuardsByThread, counts: Counts, *, lost: bool) -> Verdict:
    finished = tuple(len(code) for code in guards)
    if any(ending != finished for ending in counts.endings):
        return "deadlock"
    return "lost" if lost else "ok"


def comparison(verdict: Verdict, counts: Counts, spin: SpinResult) -> Comparison:
    agree = (spin.verdict, spin.states) == (verdict, counts.states)
    return Comparison(agree=agree, verdict=verdict, states=counts.states, transitions=counts.transitions, spin=spin)
