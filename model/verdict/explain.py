"""From where a program ends to its result: the one way for lists of operations and for tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from model.program.ops import ANY
from model.semantics.arrays import NONE, Ints
from model.semantics.guards import Guards
from model.states.bfs import replay
from model.states.machine import Machine, Positions, ThreadStep
from model.states.wildcards import InFlight, WildcardMachine, WildcardStep
from model.verdict.result import MAX_LISTED, Engine, PathStep, Result, Verdict
from model.verdict.wait_for import OperationText, WaitFor, wait_for_of_guards, wait_for_of_wildcards


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramEnding:
    """What an engine says: where the program ends, by which path, and how much it took to see that.

    positions: by thread. path: the steps that lead there; empty also where none was made. states, transitions,
    makespan, note: as in `Result`.
    """

    engine: Engine
    positions: Ints
    path: tuple[ThreadStep, ...] = ()
    states: int
    transitions: int
    makespan: int | None = None
    note: str = ""


def result_of(ending: ProgramEnding, guards: Guards, shown: OperationText) -> Result:
    """The result of a program without wildcard receives.

    shown: (rank, index) -> the operation's text.
    """
    columns = guards.columns
    stuck = bool((ending.positions < np.diff(columns.starts)).any())
    left = guards.unreceived(ending.positions)
    waits = wait_for_of_guards(guards, ending.positions, shown) if stuck else WaitFor()
    left = left[np.argsort(~columns.sends[left], kind="stable")]  # messages sent before those awaited
    names = [
        _unreceived(*row)
        for row in zip(
            columns.owner[left[:MAX_LISTED]].tolist(),
            columns.sends[left[:MAX_LISTED]].tolist(),
            columns.peer[left[:MAX_LISTED]].tolist(),
            columns.tag[left[:MAX_LISTED]].tolist(),
            strict=True,
        )
    ]
    path = _path_of_positions(guards, ending.path, shown) if stuck or names else ()
    return _result(
        stuck, waits, names, len(left), path,
        engine=ending.engine, states=ending.states, transitions=ending.transitions,
        makespan=None if stuck else ending.makespan, note=ending.note,
    )  # fmt: skip


def result_of_wildcards(
    machine: WildcardMachine,
    state: InFlight | None,
    path: Sequence[WildcardStep],
    shown: OperationText,
    *,
    states: int,
    transitions: int,
    note: str,
) -> Result:
    """The result of a program with wildcard receives; `state`: the worst ending, None where all is well."""
    stuck = state is not None and not machine.finished(state)
    left = [] if state is None else machine.unreceived(state)
    ends = [machine.messages[message] for message in left[:MAX_LISTED]]
    waits = wait_for_of_wildcards(machine, state, shown) if stuck and state is not None else WaitFor()
    return _result(
        stuck,
        waits,
        [_unreceived(end.rank, end.sends, end.peer, end.tag) for end in ends],
        len(left),
        _path_steps(
            [(rank, str(item.op)) for rank, item in machine.moved(at, step)] for at, step in replay(machine, path)
        ),
        engine="explorer", states=states, transitions=transitions, makespan=None, note=note,
    )  # fmt: skip


def _result(
    stuck: bool,
    waits: WaitFor,
    names: Sequence[str],
    left: int,
    path: tuple[PathStep, ...],
    *,
    engine: Engine,
    states: int,
    transitions: int,
    makespan: int | None,
    note: str,
) -> Result:
    verdict: Verdict = "livelock" if waits.polls else "deadlock" if stuck else "lost" if names else "ok"
    notes = [note] if note else []
    for count, what in (
        (waits.stuck, "ranks are stuck"),
        (waits.length, "ranks stand in the circuit"),
        (left, "messages are left over"),
    ):
        if count > MAX_LISTED:
            notes.append(f"{count} {what}, of which the first {MAX_LISTED} are listed")
    return Result(
        verdict=verdict,
        states=states,
        transitions=transitions,
        engine=engine,
        circuit=waits.circuit,
        blocked=waits.blocked,
        path=path,
        lost=tuple(names),
        note="; ".join(notes),
        makespan=makespan,
    )


def _unreceived(rank: int, sends: bool, peer: int, tag: int) -> str:
    """A message sent and not received, or awaited and not sent."""
    word = "sent to" if sends else "awaited from"
    other = "any rank" if peer == ANY else f"rank {peer}"
    return f"rank {rank}: message {word} {other}, tag {'any' if tag == ANY else tag}"


def _path_of_positions(guards: Guards, path: Sequence[ThreadStep], shown: OperationText) -> tuple[PathStep, ...]:
    if not path:
        return ()
    columns = guards.columns
    awaited: dict[int, list[int]] = {}
    for instruction, message in columns.awaits.tolist():
        awaited.setdefault(instruction, []).append(message)

    def hidden(state: Positions, instruction: int, first: bool) -> bool:
        """Whether another step shows the operation: handing it over does, unless its message is still on its way."""
        if instruction not in awaited or first:
            return bool(columns.silent[instruction])
        before = instruction - 1
        halves = columns.silent[before] and columns.index[before] == columns.index[instruction]
        return bool(halves) and not any(
            columns.sends[message] and in_flight(state, message) for message in awaited[instruction]
        )

    def in_flight(state: Positions, message: int) -> bool:
        partner = int(guards.partner[message])
        return posted(state, message) and (partner == NONE or not posted(state, partner))

    def posted(state: Positions, message: int) -> bool:
        at = int(columns.at[message])
        thread = int(np.searchsorted(columns.starts, at, side="right")) - 1
        return state[thread] > at - int(columns.starts[thread])

    def moved(state: Positions, step: ThreadStep) -> list[tuple[int, str]]:
        threads = [step.thread] if step.partner is None else [step.thread, step.partner]
        heads = [int(columns.starts[thread]) + state[thread] for thread in threads]
        if hidden(state, heads[0], state[step.thread] == 0):
            return []
        ranks = [int(columns.rank_of[thread]) for thread in threads]
        rows = [(rank, int(columns.index[head])) for rank, head in zip(ranks, heads, strict=True)]
        return [(rank, shown(rank, index)) for rank, index in sorted(rows)]

    return _path_steps(moved(state, step) for state, step in replay(Machine(guards), path))


def _path_steps(moves: Iterator[Sequence[tuple[int, str]]]) -> tuple[PathStep, ...]:
    """The steps in which somebody is seen to move."""
    return tuple(PathStep(step=number, moved=tuple(moved)) for number, moved in enumerate(filter(None, moves), start=1))
