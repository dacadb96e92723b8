"""The verdict by the event graph, in linear time: where the earliest run ends, and its makespan."""

from __future__ import annotations

from dataclasses import replace

from model.semantics.guards import Guards, guards_of
from model.semantics.parameters import Semantics
from model.semantics.table import Table, TableOperations, columns_of_table
from model.states.bfs import one_schedule
from model.states.machine import Machine, ThreadStep
from model.verdict.explain import ProgramEnding, result_of
from model.verdict.result import NO_PATH, Result

MAX_PATH = 500
"""Instructions up to which one schedule is run, and with it a path made; larger programs go to the event graph."""


def ending_by_graph(guards: Guards) -> ProgramEnding:
    """The only ending; its states are the events, its transitions the arcs. A path stands by for a small program.

    Raises ValueError where a probe passes by any of several sends.
    """
    from model.events.earliest_run import run_guards  # numba is slow to import

    run = run_guards(guards)
    path: tuple[ThreadStep, ...] = ()
    note = ""
    if run.hangs or len(run.unreceived):
        if guards.size <= MAX_PATH:
            (ending,) = one_schedule(Machine(guards)).endings
            assert list(ending.state) == run.positions.tolist(), "the event graph and the transition system disagree"
            path = ending.path
        else:
            note = f"{NO_PATH} {MAX_PATH} instructions; ask for it with --engine schedule"
    graph = run.built.graph
    return ProgramEnding(
        engine="graph", positions=run.positions, path=path, states=graph.events, transitions=len(graph.tails),
        makespan=run.makespan, note=note,
    )  # fmt: skip


def check_table(table: Table, rules: Semantics) -> Result:
    """The verdict on a table under one library.

    Raises ValueError where the library needs the list of operations (see `columns_of_table`).
    """
    operations = TableOperations(table)
    guards = guards_of(columns_of_table(table, rules))
    result = result_of(ending_by_graph(guards), guards, lambda rank, index: str(operations.operation(rank, index)))
    if result.verdict == "ok" and rules.buffers:
        bare = ending_by_graph(guards_of(columns_of_table(table, rules.unbuffered())))
        result = replace(result, depends_on_buffering=bare.makespan is None)
    return result
