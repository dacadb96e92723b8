"""Verdicts as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tabulate import tabulate

from model.orderspace import Space
from model.verdict import Result

SHOWN = 40  # lines of a trace: the end is what explains a deadlock


def verdict_lines(result: Result) -> Iterator[str]:
    """The verdict, then its evidence: the wait-for circuit, the other stuck ranks, what is left over, the trace."""
    how = "states explored" if result.engine == "explorer" else "states of the one schedule that decides"
    yield f"{result.verdict}: {result.states} {how}, {result.transitions} transitions"
    if result.circuit:
        yield ""
        yield "who waits for whom"
        in_circuit = {item.rank for item in result.circuit}
        kind = "circuit" if result.circuit[0].rank in result.circuit[-1].waits_for else "chain"
        others = [item for item in result.blocked if item.rank not in in_circuit]
        yield _table(
            ["rank", "is in", "waits for", ""],
            [
                [item.rank, f"{item.op} at {item.index}", ", ".join(map(str, item.waits_for)), mark]
                for part, mark in ((result.circuit, kind), (others, ""))
                for item in part
            ],
        )
    if result.lost:
        yield ""
        yield from result.lost
    if result.verdict != "ok":
        yield ""
        hidden = max(0, len(result.trace) - SHOWN)
        if not result.trace:
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


def space_lines(space: Space) -> Iterator[str]:
    """The order space as a sentence and a table."""
    yield f"{space.orderings} orderings of {space.ranks} ranks, one round under rendezvous"
    rows = [
        ["deadlock", space.deadlocks],
        *([f"{steps} steps", count] for steps, count in space.makespan.items()),
    ]
    yield _table(["one round", "orderings"], rows)


def names_lines(named: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Every registry as a table."""
    for title, entries in named.items():
        yield _table([title, ""], list(entries.items()))
        yield ""


def _table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    return str(tabulate(rows, headers=headers, tablefmt="simple"))
