"""The one entry of the model: does this program finish on these libraries, and if not, who waits for whom?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, cast, get_args

import numpy as np

from model.program.checked import Program, wildcard_free
from model.program.json_form import short
from model.program.numbers import check_whole
from model.semantics.columns import columns_of
from model.semantics.guards import guards_of
from model.semantics.instructions import Lowered
from model.semantics.libraries import NAMED
from model.semantics.lowering import lower
from model.semantics.parameters import Semantics, SemanticsByComm, semantics_of
from model.states.bfs import Exploration, one_schedule
from model.states.machine import Machine, Positions, ThreadStep
from model.states.options import MAX_STATES, Options
from model.states.strategy import explore_positions, explore_wildcards
from model.states.wildcards import WildcardMachine
from model.verdict.arguments import LibraryLike, ProgramLike, as_lists, as_program, as_semantics
from model.verdict.by_graph import MAX_PATH, check_table, ending_by_graph
from model.verdict.explain import ProgramEnding, result_of, result_of_wildcards
from model.verdict.result import Buffering, Engine, Result
from model.verdict.subject import Subject

if TYPE_CHECKING:
    from model.semantics.table import Table

_EVERY_STATE = Options()


def check(
    program: ProgramLike,
    semantics: LibraryLike,
    *,
    engine: Engine | Literal["auto"] | None = None,
    max_states: int = MAX_STATES,
    progress: Callable[[int], None] | None = None,
    explore: Options = _EVERY_STATE,
) -> Result:
    """The verdict on a program under the semantics of its communicators.

    Without `engine`, or with `auto`, one schedule decides where there is no wildcard receive (statement 1), or for a
    large program its event graph, in linear time; else the explorer tries every message that each could take, and
    the note says so. `explorer` sees every state, or those that `explore` asks for.
    A deadlock counts before a lost message, and either before ok. What a program and a library may be given as is in
    `model.verdict.arguments`; a table goes to the event graph.

    Raises ValueError on what is no program, no library or no engine, past `max_states`, or where `schedule` or `graph`
    is asked for a program with wildcards.
    """
    engine = _engine(engine)
    check_whole("max_states", max_states, 1)
    if explore != _EVERY_STATE and engine != "explorer":
        raise ValueError(f"{explore} is for the engine explorer; choose it")
    lists = as_program(program)
    by_comm = as_semantics(semantics, lists)
    if not isinstance(lists, tuple):
        return replace(_check_table(lists, by_comm, engine), subject=Subject(program=lists, semantics=by_comm))
    result = _decide(lists, by_comm, engine, max_states, progress, explore)
    stores = {comm: rules for comm, rules in by_comm.items() if rules.buffers}
    if result.verdict == "ok" and stores:
        bare = {**by_comm, **{comm: rules.unbuffered() for comm, rules in stores.items()}}
        result = replace(result, depends_on_buffering=_decide(lists, bare, None, max_states, None).hangs)
    return replace(result, subject=Subject(program=lists, semantics=by_comm))


def _engine(name: str | None) -> Engine | None:
    """The engine of a name; None where the choice is left. Raises ValueError on any other."""
    if name is None or name == "auto":
        return None
    for engine in get_args(Engine):
        if name == engine:
            return cast(Engine, engine)
    raise ValueError(f"unknown engine {short(name)}; choose one of auto, {', '.join(get_args(Engine))}")


def _check_table(table: Table, by_comm: SemanticsByComm, engine: Engine | None) -> Result:
    if engine not in (None, "graph"):
        raise ValueError(f"engine is {engine}, and a table goes to graph alone; leave the engine out")
    return check_table(table, semantics_of(by_comm, "world"))


def check_contract(program: ProgramLike, *, buffering: Buffering = "either", max_states: int = MAX_STATES) -> Result:
    """The verdict by the contract of the MPI standard, which leaves it open whether a standard send is stored.

    zero: every standard send is a rendezvous; infinite: every one is stored; either: the worst of both, and the
    note says which. (A program without wildcards that finishes with zero buffering finishes with any, statement 2.)
    Raises ValueError on any other buffering.
    """
    if buffering not in get_args(Buffering):
        raise ValueError(f"unknown buffering {short(buffering)}; choose one of {', '.join(get_args(Buffering))}")
    check_whole("max_states", max_states, 1)
    names = {"zero": ("ssend",), "infinite": ("bsend",), "either": ("ssend", "bsend")}[buffering]
    results = []
    lists = as_lists(program)
    for name in names:
        result = _decide(lists, NAMED[name], None, max_states, None)
        stored = "no standard send is stored" if name == "ssend" else "every standard send is stored"
        note = "; ".join(filter(None, (result.note, f"where {stored}")))
        results.append(replace(result, note=note))
    worst = next((result for result in results if result.verdict != "ok"), results[0])
    depends = buffering == "either" and [result.hangs for result in results] == [True, False]
    return replace(worst, depends_on_buffering=depends)


def _decide(
    program: Program,
    semantics: Semantics | SemanticsByComm,
    engine: Engine | None,
    max_states: int,
    progress: Callable[[int], None] | None,
    explore: Options = _EVERY_STATE,
) -> Result:
    if engine in ("schedule", "graph") and not wildcard_free(program):
        raise ValueError(f"{engine}: one run does not decide a program with wildcard receives; use the explorer")
    lowered = lower(program, semantics)

    def shown(rank: int, index: int) -> str:
        return str(program[rank][index])

    if lowered.wild:
        return _with_wildcards(lowered, engine, explore, max_states, progress, shown)
    guards = guards_of(columns_of(lowered))
    if engine == "explorer":
        seen, note = explore_positions(Machine(guards), explore, max_states=max_states, progress=progress)
        ending = _only_ending(seen, engine, note)
    elif engine == "graph" or (engine is None and guards.size > MAX_PATH and not guards.has_alternatives):
        ending = ending_by_graph(guards)
    else:
        ending = _only_ending(one_schedule(Machine(guards)), "schedule", "")
    return result_of(ending, guards, shown)


def _only_ending(seen: Exploration[Positions, ThreadStep], engine: Engine, note: str) -> ProgramEnding:
    (end,) = seen.endings
    return ProgramEnding(
        engine=engine, positions=np.array(end.state, dtype=np.int64), path=end.path,
        states=seen.states, transitions=seen.transitions, note=note,
    )  # fmt: skip


def _with_wildcards(
    lowered: Lowered,
    engine: Engine | None,
    explore: Options,
    max_states: int,
    progress: Callable[[int], None] | None,
    shown: Callable[[int, int], str],
) -> Result:
    """Every message that each receive could take is tried; a deadlock counts before a message left over."""
    machine = WildcardMachine(lowered)
    options = explore if engine == "explorer" else Options(reduce="persistent")
    seen, note = explore_wildcards(machine, options, max_states=max_states, progress=progress)
    if engine is None:
        note = "wildcard receives: one schedule does not decide, so every message that they could take was tried"
    stuck = (end for end in seen.endings if not machine.finished(end.state))
    left = (end for end in seen.endings if end.state.sends or end.state.recvs)
    worst = next(stuck, None) or next(left, None)
    return result_of_wildcards(
        machine, None if worst is None else worst.state, () if worst is None else worst.path, shown,
        states=seen.states, transitions=seen.transitions, note=note,
    )  # fmt: skip
