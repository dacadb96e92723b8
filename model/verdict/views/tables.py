"""Verdicts as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from model.display.text import table
from model.program.text_form import program_text
from model.verdict.result import NO_PATH, Blocked, Result
from model.verdict.subject import Change

MAX_ROWS = 40
"""Rows of a table: of a run the last ones, as the end is what explains a deadlock."""

HOW = {
    "explorer": "states explored",
    "schedule": "states of the one schedule that decides",
    "graph": "nodes of the event graph",
}


def headline(result: Result) -> str:
    """How the verdict was found."""
    return f"{result.states} {HOW[result.engine]}, {result.transitions} transitions"


def remarks(result: Result) -> Iterator[str]:
    """What a reader should know beside the verdict."""
    if result.makespan is not None:
        yield f"makespan: {result.makespan} transfers one after another"
    if result.note:
        yield result.note
    if result.verdict == "livelock":
        yield "a rank polls in a send meanwhile, so it looks busy (statement 12)"
    if result.depends_on_buffering:
        yield "depends on buffering: where nothing is stored, the same program hangs"


LIBRARIES = ("library", "verdict", "who waits for whom")
"""Columns of `library_rows`."""


def library_rows(results: Mapping[str, Result]) -> list[tuple[str, str, str]]:
    """A row a library: its verdict, and the circuit."""
    return [
        (name, result.verdict, " -> ".join(f"{item.rank}: {item.op}" for item in result.circuit))
        for name, result in results.items()
    ]


def library_table(results: Mapping[str, Result]) -> str:
    """The verdict under each library, as text."""
    return table(LIBRARIES, library_rows(results))


def verdict_lines(result: Result, cure: Change | None = None) -> Iterator[str]:
    """The verdict, then its evidence: the wait-for circuit, other stuck ranks, what is left over, a cure, the path.

    cure: a change under which the program finishes.
    """
    yield f"{result.verdict}: {headline(result)}"
    yield from remarks(result)
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
        yield from _path_lines(result)


def _path_lines(result: Result) -> Iterator[str]:
    if not result.path and NO_PATH in result.note:
        yield "path: none was made"
    elif not result.path:
        yield "path: none of the ranks can take a first step"
    else:
        hidden = len(result.path) > MAX_ROWS
        yield f"path of {len(result.path)} steps" + (f", the last {MAX_ROWS}" if hidden else "")
        yield table(["step", "rank: operation"], path_rows(result))


def path_rows(result: Result, most: int = MAX_ROWS) -> list[tuple[int, str]]:
    """The last steps of the path: their numbers, and who did what."""
    steps = result.path[max(0, len(result.path) - most) :]
    return [(step.step, " + ".join(f"{rank}: {op}" for rank, op in step.moved)) for step in steps]


def waits_lines(result: Result) -> Iterator[str]:
    """Who waits for whom in a result with a circuit or chain, those of the circuit first."""
    yield "who waits for whom"
    yield table(WAITS, waits_rows(result))
    hidden = hidden_waits(result)
    if hidden:
        yield f"and {hidden} more"


WAITS = ("rank", "is in", "waits for", "")
"""Columns of `waits_rows`."""


def waits_rows(result: Result, most: int = MAX_ROWS) -> list[tuple[int, str, str, str]]:
    """A row a stuck rank: those of the circuit or chain, then at most as many others."""
    members, others = _parts(result)
    closed = result.circuit[0].rank in result.circuit[-1].waits_for
    return [
        (item.rank, f"{item.op} at {item.index}", ", ".join(map(str, item.waits_for)), mark)
        for part, mark in ((members[:most], "circuit" if closed else "chain"), (others[:most], ""))
        for item in part
    ]


def hidden_waits(result: Result, most: int = MAX_ROWS) -> int:
    """How many stuck ranks `waits_rows` leaves out."""
    return sum(max(0, len(part) - most) for part in _parts(result))


def _parts(result: Result) -> tuple[Sequence[Blocked], Sequence[Blocked]]:
    """The stuck ranks of the circuit, and the others."""
    members = {item.rank for item in result.circuit}
    return result.circuit, [item for item in result.blocked if item.rank not in members]
