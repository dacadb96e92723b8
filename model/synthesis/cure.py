"""Cures for a program that hangs: changes to the order or the kind of its calls, each checked before it is said.

The smaller change comes first: one rank does something later; batches send before they receive; receives are
posted first; what stands together goes as one batch; all communication in one global order (`orders`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from model.display import html
from model.display.shown import Shown
from model.program.checked import Program, program
from model.program.json_form import program_json
from model.program.ops import Batch, Irecv, Isend, Operation, Recv, RequestId, Send, Sendrecv, Wait
from model.program.text_form import program_text
from model.semantics.parameters import Semantics, SemanticsByComm
from model.verdict.decide import check
from model.verdict.result import Result
from model.verdict.views.html import program_difference

MAX_MOVES = 64
"""At most so many single moves are tried: on a long program one move seldom cures."""

Group = tuple[Operation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cure(Shown):
    """A change and the program that it makes; `check` says ok of it under the semantics that were asked for.

    before: the program that hangs, where it is to be shown beside.
    """

    what: str
    program: Program
    before: Program = ()

    def to_json(self) -> dict[str, Any]:
        return {"cure": self.what, **program_json(self.program)}

    def _lines(self) -> Iterator[str]:
        yield f"cure: {self.what}"
        yield program_text(self.program).rstrip()

    def _parts(self) -> Iterator[str]:
        yield html.heading(f"cure: {self.what}")
        yield program_difference(self.before or self.program, self.program)

    def _table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        rows = [(rank, index, str(op)) for rank, ops in enumerate(self.program) for index, op in enumerate(ops)]
        return ("rank", "index", "op"), rows


def propose(hanging: Program, semantics: Semantics | SemanticsByComm, result: Result) -> Cure | None:
    """The first candidate that finishes, or None. `result` is the verdict on `hanging`."""
    for cure in candidates(hanging, result):
        try:
            cured = program(cure.program)
        except ValueError:  # a request that two groups share does not survive their merging
            continue
        if cured != hanging and check(cured, semantics).verdict == "ok":
            return Cure(what=cure.what, program=cured)
    return None


def why_no_order(hanging: Program) -> str:
    """Why no order of the communication can help, or "" where one does (statement 9)."""
    from model.synthesis.precedence_of import of_program

    try:
        circuit = of_program(hanging).circuit()
    except ValueError as error:
        return str(error)
    return " before ".join(task.label for task in (*circuit, *circuit[:1]))


def candidates(hanging: Program, result: Result) -> Iterator[Cure]:
    """Changes that keep computes, data and the order of each channel, the smallest first; none is checked yet."""
    yield from _moves(hanging, result)
    yield Cure(what="in every batch, send before you receive", program=_each_batch(hanging))
    yield Cure(what="on every rank, post the receives first and wait for them last", program=_receives_first(hanging))
    yield Cure(what="on every rank, make one batch of what stands together", program=_batched(hanging))
    from model.synthesis.orders import of_precedence  # slow to import, and a smaller change is mostly enough
    from model.synthesis.precedence_of import of_program

    try:
        ordered = of_precedence(of_program(hanging))
    except ValueError:  # a message without its other end, or a wildcard: no order helps
        return
    if ordered.program:
        yield Cure(what="on every rank, take the messages in one global order", program=ordered.program)


def _moves(hanging: Program, result: Result) -> Iterator[Cure]:
    """One stuck rank does the operation that it is stuck in later, past the next others of its run."""
    left = MAX_MOVES
    for item in result.circuit:
        runs = _runs(hanging[item.rank])
        at = 0
        for run in runs:
            for position, group in enumerate(run):
                if at <= item.index < at + len(group):
                    for after in range(position + 1, len(run)):
                        if left == 0 or _channel(group) & _channel(run[after]):
                            break
                        left -= 1
                        moved = (*run[:position], *run[position + 1 : after + 1], group, *run[after + 1 :])
                        changed = [moved if other == run else other for other in runs]
                        ops = tuple(op for other in changed for part in other for op in part)
                        what = f"on rank {item.rank}, do {group[0]!s} after {run[after][0]!s}"
                        if sum(other == run for other in runs) > 1:
                            what += ", every time"
                        yield Cure(what=what, program=(*hanging[: item.rank], ops, *hanging[item.rank + 1 :]))
                at += len(group)


def _runs(ops: Sequence[Operation]) -> list[tuple[Group, ...]]:
    """A rank's operations in runs of communication; anything else is a run of its own.

    A group is what moves together: an isend or irecv and the wait right behind it, or one call.
    """
    runs: list[list[Group]] = []
    open_run = False
    for op in ops:
        moves = isinstance(op, Send | Recv | Isend | Irecv | Sendrecv | Batch)
        before = runs[-1][-1] if open_run else ()
        if isinstance(op, Wait) and before and op.requests == tuple(getattr(part, "request", None) for part in before):
            runs[-1][-1] = (*before, op)
        elif moves and open_run:
            runs[-1].append((op,))
        else:
            runs.append([(op,)])
            open_run = moves
    return [tuple(run) for run in runs]


def _channel(group: Group) -> set[tuple[bool, int, str]]:
    """The channels of a group, by direction; two groups of one channel keep their order."""
    out = set()
    for op in group:
        for part in op.ops if isinstance(op, Batch) else (op,):
            if isinstance(part, Send | Isend | Sendrecv):
                out.add((True, part.peer, part.comm))
            if isinstance(part, Recv | Irecv):
                out.add((False, part.peer, part.comm))
            if isinstance(part, Sendrecv):
                out.add((False, part.source, part.comm))
    return out


def _each_batch(hanging: Program) -> Program:
    def sends_first(op: Operation) -> Operation:
        return (
            replace(op, ops=tuple(sorted(op.ops, key=lambda part: isinstance(part, Irecv))))
            if isinstance(op, Batch)
            else op
        )

    return tuple(tuple(sends_first(op) for op in ops) for ops in hanging)


def _receives_first(hanging: Program) -> Program:
    return tuple(tuple(op for run in _runs(ops) for op in _posted(run)) for ops in hanging)


def _posted(run: tuple[Group, ...]) -> Iterator[Operation]:
    """A run of receives and sends with the receives posted at its beginning and waited for at its end."""
    flat = [op for group in run for op in group]
    if not any(isinstance(op, Recv | Irecv) for op in flat) or not all(
        isinstance(op, Send | Recv | Isend | Irecv | Wait) for op in flat
    ):
        yield from flat
        return
    waits: list[RequestId] = []
    late: set[RequestId] = set()
    waited = {request for op in flat if isinstance(op, Wait) for request in op.requests}
    for number, op in enumerate(flat):
        if isinstance(op, Recv):
            waits.append(f"first {number}")
            yield Irecv(peer=op.peer, tag=op.tag, comm=op.comm, request=waits[-1])
        elif isinstance(op, Irecv):
            yield op
            if op.request in waited:
                waits.append(op.request)
                late.add(op.request)
    for op in flat:
        if isinstance(op, Wait):
            kept = tuple(request for request in op.requests if request not in late)
            if kept:
                yield Wait(requests=kept)
        elif not isinstance(op, Recv | Irecv):
            yield op
    if waits:
        yield Wait(requests=tuple(waits))


def _batched(hanging: Program) -> Program:
    return tuple(tuple(op for run in _joined(ops) for op in run) for ops in hanging)


def _joined(ops: Sequence[Operation]) -> Iterator[Group]:
    """Runs of sends and receives, and the waits for them, as one batch each."""
    run: list[Operation] = []
    for op in (*ops, None):
        if isinstance(op, Send | Recv | Isend | Irecv | Sendrecv | Wait | Batch):
            run.append(op)
            continue
        yield _as_batch(run)
        run = []
        if op is not None:
            yield (op,)


def _as_batch(run: Sequence[Operation]) -> Group:
    parts: list[Isend | Irecv] = []
    started: set[RequestId] = set()
    for op in run:
        if isinstance(op, Isend | Irecv):
            started.add(op.request)
        elif isinstance(op, Wait):
            if not started.issuperset(op.requests):
                return tuple(run)  # waits for what an earlier run started
            started.difference_update(op.requests)
    if started or not run:
        return tuple(run)
    for op in run:
        for part in op.ops if isinstance(op, Batch) else (op,):
            name = f"b{len(parts)}"
            if isinstance(part, Send | Isend | Sendrecv):
                mode = "standard" if isinstance(part, Sendrecv) else part.mode
                parts.append(
                    Isend(peer=part.peer, tag=part.tag, nbytes=part.nbytes, comm=part.comm, mode=mode, request=name)
                )
            if isinstance(part, Recv | Irecv):
                parts.append(Irecv(peer=part.peer, tag=part.tag, comm=part.comm, request=name))
            if isinstance(part, Sendrecv):
                parts.append(Irecv(peer=part.source, tag=part.source_tag, comm=part.comm, request=f"{name} back"))
    return (Batch(ops=tuple(parts)),) if parts else tuple(run)
