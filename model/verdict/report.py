"""Verdicts as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tabulate import tabulate

from model.program.json_form import program_text
from model.rings.order_space import Space
from model.synthesis.cure import Cure
from model.verdict.decide import Result

SHOWN = 40  # lines of a trace: the end is what explains a deadlock


HOW = {
    "explorer": "states explored",
    "schedule": "states of the one schedule that decides",
    "graph": "nodes of the event graph",
}


def verdict_lines(result: Result, cure: Cure | None = None) -> Iterator[str]:
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
        hidden = max(0, len(result.trace) - SHOWN)
        if not result.trace and result.engine == "graph":
            yield "trace: none was made"
        elif not result.trace:
            yield "trace: none of the ranks can take a first step"
        else:
            yield f"trace of {len(result.trace)} steps" + (f", the last {SHOWN}" if hidden else "")
            yield _table(
                ["step", "rank: operation"],
                [
                    [event.step, " + ".join(f"{rank}: {op}" for rank, op in event.moved)]
                    for event in result.trace[hidden:]
                ],
            )


def waits_lines(result: Result) -> Iterator[str]:
    """Who waits for whom in a result with a circuit or chain, those of the circuit first."""
    yield "who waits for whom"
    in_circuit = {item.rank for item in result.circuit}
    kind = "circuit" if result.circuit[0].rank in result.circuit[-1].waits_for else "chain"
    others = [item for item in result.blocked if item.rank not in in_circuit]
    yield _table(
        ["rank", "is in", "waits for", ""],
        [
            [item.rank, f"{item.op} at {item.index}", ", ".join(map(str, item.waits_for)), mark]
            for part, mark in ((result.circuit[:SHOWN], kind), (others[:SHOWN], ""))
            for item in part
        ],
    )
    hidden = max(0, len(result.circuit) - SHOWN) + max(0, len(others) - SHOWN)
    if hidden:
        yield f"and {hidden} more"


def space_lines(space: Space) -> Iterator[str]:
    """The order space as a sentence and two tables: all orderings, and one of each class of rotations."""
    classes = space.rotations.orderings
    yield f"{space.orderings} orderings of {space.ranks} ranks under rendezvous, {classes} up to rotation"
    yield ""
    once = [(str(steps), count, space.rotations.makespan[steps]) for steps, count in space.makespan.items()]
    period = [(str(steps), count, space.rotations.period[steps]) for steps, count in space.period.items()]
    for title, found in (("one round", once), ("repeated, per round", period)):
        rows = [["deadlock", space.deadlocks, space.rotations.deadlocks]]
        rows += [[f"{steps} steps", count, turned] for steps, count, turned in found]
        yield _table([title, "orderings", "up to rotation"], rows)
        yield ""


def names_lines(named: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Every registry as a table."""
    for title, entries in named.items():
        yield _table([title, ""], list(entries.items()))
        yield ""


def _table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    return str(tabulate(rows, headers=headers, tablefmt="simple"))
