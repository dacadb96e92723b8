"""The one entry of the model: does this program finish on these libraries, and if not, who waits for whom?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from model.program.checked import Program, wildcard_free
from model.semantics.libraries import NAMED
from model.semantics.matching import graphed
from model.semantics.parameters import Semantics, SemanticsByComm, semantics_of
from model.states.bfs import Ending, Exploration, one_schedule, replay
from model.states.machine import Machine, State, Step
from model.states.options import MAX_STATES, Options
from model.states.strategy import explore_machine
from model.verdict.arguments import LibraryLike, ProgramLike, as_lists, as_program, as_semantics
from model.verdict.result import Buffering, Engine, PathStep, Result, Verdict
from model.verdict.subject import Subject
from model.verdict.wait_for import Blame, blame

if TYPE_CHECKING:
    from model.semantics.table import Table

TRACED = 500
"""Instructions up to which one schedule is run, and with it a trace made; larger programs go to the event graph."""
_EVERY_STATE = Options()


def check(
    program: ProgramLike,
    semantics: LibraryLike,
    *,
    engine: Engine | None = None,
    max_states: int = MAX_STATES,
    progress: Callable[[int], None] | None = None,
    explore: Options = _EVERY_STATE,
) -> Result:
    """The verdict on a program under the semantics of its communicators.

    Without `engine`, one schedule decides where there is no wildcard receive (statement 1), or for a large program
    its event graph, in linear time; else the explorer tries every message that each could take, and the note
    says so. `explorer` sees every state, or those that `explore` asks for.
    A deadlock counts before a lost message, and either before ok. What a program and a library may be given as is in
    `model.verdict.arguments`; a table goes to the event graph.

    Raises ValueError on what is no program or no library, past `max_states`, or where `schedule` or `graph` is asked
    for a program with wildcards.
    """
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


def _check_table(table: Table, by_comm: SemanticsByComm, engine: Engine | None) -> Result:
    from model.verdict.by_graph import check_table  # numba is slow to import

    if engine not in (None, "graph"):
        raise ValueError(f"engine is {engine}, and a table goes to graph alone; leave the engine out")
    return check_table(table, semantics_of(by_comm, "world"))


def check_contract(program: ProgramLike, *, buffering: Buffering = "either", max_states: int = MAX_STATES) -> Result:
    """The verdict by the contract of the MPI standard, which leaves it open whether a standard send is stored.

    zero: every standard send is a rendezvous; infinite: every one is stored; either: the worst of both, and the
    note says which. (A program without wildcards that finishes with zero buffering finishes with any, statement 2.)
    """
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
    decided = wildcard_free(program)
    if engine in ("schedule", "graph") and not decided:
        raise ValueError(f"{engine}: one run does not decide a program with wildcard receives; use the explorer")
    machine = Machine(program, semantics)
    note = ""
    if engine == "explorer":
        seen, note = explore_machine(machine, explore, max_states=max_states, progress=progress)
    elif not decided:
        engine = "explorer"
        seen, _ = explore_machine(machine, Options(reduce="persistent"), max_states=max_states, progress=progress)
        note = "wildcard receives: one schedule does not decide, so every message that they could take was tried"
    elif engine != "graph" and (engine or machine.size <= TRACED or not graphed(machine.lowered)):
        engine = "schedule"
        seen = one_schedule(machine)
    else:
        engine = "graph"
        seen, note = _by_graph(machine)
    return _result(machine, seen, engine, note)


def _by_graph(machine: Machine) -> tuple[Exploration[State, Step], str]:
    """The only ending, from the event graph; `states` are its events, `transitions` its arcs."""
    from model.events.earliest_run import final_state, run  # numba is slow to import
    from model.semantics.columns import columns_of

    found = run(columns_of(machine.lowered))
    state = final_state(found, machine.lowered)
    path: tuple[Step, ...] = ()
    note = ""
    if found.hangs or len(found.left_over):
        if machine.size <= TRACED:
            (ending,) = one_schedule(machine).endings
            assert ending.state == state, "the event graph and the transition system end differently"
            path = ending.path
        else:
            note = f"no trace of more than {TRACED} instructions; ask for it with --engine schedule"
    graph = found.built.graph
    seen = Exploration(states=graph.events, transitions=len(graph.tails), endings=(Ending(state=state, path=path),))
    return seen, note


def _result(machine: Machine, seen: Exploration[State, Step], engine: Engine, note: str) -> Result:
    stuck = next((end for end in seen.endings if not machine.finished(end.state)), None)
    spilt = next((end for end in seen.endings if end.state.sends or end.state.recvs), None)
    ending = stuck or spilt
    found = Blame(blocked=(), circuit=(), polls=False) if stuck is None else blame(machine, stuck.state)
    verdict: Verdict = (
        "ok" if ending is None else "lost" if stuck is None else "livelock" if found.polls else "deadlock"
    )
    return Result(
        verdict=verdict,
        states=seen.states,
        transitions=seen.transitions,
        engine=engine,
        circuit=found.circuit,
        blocked=found.blocked,
        path=() if ending is None or not ending.path else path_steps(machine, ending.path),
        lost=() if ending is None else machine.unmatched(ending.state),
        note=note,
    )


def path_steps(machine: Machine, path: Sequence[Step]) -> tuple[PathStep, ...]:
    """A path, replayed step by step, in the program's own terms."""
    moves = (machine.describe(state, step) for state, step in replay(machine, path))
    return tuple(PathStep(step=number, moved=moved) for number, moved in enumerate(filter(None, moves), start=1))
