"""Verdicts as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from tabulate import tabulate

from model.program.checked import Program
from model.program.text_form import program_text
from model.verdict.result import Result

MAX_ROWS = 40
"""Rows of a table: of a run the last ones, as the end is what explains a deadlock."""

HOW = {
    "explorer": "states explored",
    "schedule": "states of the one schedule that decides",
    "graph": "nodes of the event graph",
}


class Change(Protocol):
    """A change to a program, and the program that it makes (`model.synthesis.cure`)."""

    @property
    def what(self) -> str: ...

    @property
    def program(self) -> Program: ...


def verdict_lines(result: Result, cure: Change | None = None) -> Iterator[str]:
    """The verdict, then its evidence: the wait-for circuit, other stuck ranks, what is left over, a cure, the trace.

    cure: a change under which the program finishes.
    """
    yield f"{result.verdict}: {result.states} {HOW[result.engine]}, {result.transitions} transitions"
    if result.makespan is not None:
        yield f"makespan: {result.makespan} transfers one after another"
    if result.note:
        yield result.note
    if result.verdict == "livelock":
        yield "a rank polls in a send meanwhile, so it looks busy (statement 12)"
    if result.depends_on_buffering:
        yield "depends on buffering: where nothing is stored, the same program hangs"
    if result.circuit:
        yield ""
        yield from waits_lines(result)
    if result.lost:
        yield ""
        yield from result.lost
    if cure is not None:
        yield ""
        yield f"cure: {cure.what}"
        yield program_text(cure.program).rstrip()
    if result.verdict != "ok":
        yield ""
        hidden = max(0, len(result.path) - MAX_ROWS)
        if not result.path and result.engine == "graph":
            yield "trace: none was made"
        elif not result.path:
            yield "trace: none of the ranks can take a first step"
        else:
            yield f"trace of {len(result.path)} steps" + (f", the last {MAX_ROWS}" if hidden else "")
            yield table(
                ["step", "rank: operation"],
                [
                    [event.step, " + ".join(f"{rank}: {op}" for rank, op in event.moved)]
                    for event in result.path[hidden:]
                ],
            )


def waits_lines(result: Result) -> Iterator[str]:
    """Who waits for whom in a result with a circuit or chain, those of the circuit first."""
    yield "who waits for whom"
    in_circuit = {item.rank for item in result.circuit}
    kind = "circuit" if result.circuit[0].rank in result.circuit[-1].waits_for else "chain"
    others = [item for item in result.blocked if item.rank not in in_circuit]
    yield table(
        ["rank", "is in", "waits for", ""],
        [
            [item.rank, f"{item.op} at {item.index}", ", ".join(map(str, item.waits_for)), mark]
            for part, mark in ((result.circuit[:MAX_ROWS], kind), (others[:MAX_ROWS], ""))
            for item in part
        ],
    )
    hidden = max(0, len(result.circuit) - MAX_ROWS) + max(0, len(others) - MAX_ROWS)
    if hidden:
        yield f"and {hidden} more"


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table as text."""
    return str(tabulate(rows, headers=headers, tablefmt="simple"))
