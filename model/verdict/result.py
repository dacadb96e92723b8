"""What a verdict is, with its evidence: plain data that every engine gives and every printer takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from model.display.shown import Shown
from model.verdict.subject import Subject

Engine = Literal["explorer", "schedule", "graph"]
Verdict = Literal["ok", "deadlock", "livelock", "lost"]
Buffering = Literal["zero", "infinite", "either"]

MAX_LISTED = 1000
"""Stuck ranks, ranks of a circuit and unreceived messages that a result lists."""

NO_PATH = "no path of more than"
"""How the note begins of a result whose path was left out, as it would be long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """A rank that cannot go on, the operation it is in, and the ranks any of which could free it.

    A rank whose operations are queued stands here once for each queue that is stuck.
    """

    rank: int
    op: str
    index: int
    waits_for: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PathStep:
    """One step of a path: the ranks that took part, each with its operation."""

    step: int
    moved: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(Shown):
    """A verdict with its evidence.

    verdict: `ok`, `deadlock` (some ranks can never finish), `livelock` (a deadlock in whose circuit a rank
        polls in a send, statement 12) or `lost` (all finish, a message is left over).
    engine: the one that decided, be it asked for or chosen. states, transitions: distinct states seen, and steps
        between them; of the event graph its events and arcs.
    circuit: on a deadlock, the ranks of a shortest wait-for circuit, each waiting for the next and the last
        for the first; if there is none, the chain to a rank that has finished. blocked: every stuck rank.
    path: a run that ends there. lost: the messages left over.
    depends_on_buffering: ok on these libraries, and hangs where they store nothing.
    note: what a reader should know of how this was decided. Of each list at most `MAX_LISTED` entries stand here, and
        the note says of how many.
    makespan: of the event graph where it finishes, in transfers one after another; None of other engines.
    subject: the program and its libraries, for titles, pictures and cures; no part of the evidence, nor of its JSON.
    """

    verdict: Verdict
    states: int
    transitions: int
    engine: Engine
    circuit: tuple[Blocked, ...] = ()
    blocked: tuple[Blocked, ...] = ()
    path: tuple[PathStep, ...] = ()
    lost: tuple[str, ...] = ()
    depends_on_buffering: bool = False
    note: str = ""
    makespan: int | None = None
    subject: Subject | None = field(default=None, compare=False, repr=False)

    @property
    def hangs(self) -> bool:
        """Whether some rank never finishes."""
        return self.verdict in ("deadlock", "livelock")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types, one key a field but for the subject."""
        return {key: value for key, value in asdict(replace(self, subject=None)).items() if key != "subject"}

    def _lines(self) -> Iterator[str]:
        from model.verdict.views.tables import verdict_lines  # knows results

        return verdict_lines(self)

    def _parts(self) -> Iterator[str]:
        from model.verdict.views.html import result_parts  # knows results

        return result_parts(self)

    def _table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        members = set(self.circuit)
        rows = [(item.rank, item.op, item.index, item.waits_for, item in members) for item in self.blocked]
        return ("rank", "op", "index", "waits_for", "in_circuit"), rows
