"""The verdict on a table, by the graph engine alone: for rings of a million ranks."""

from __future__ import annotations

import numpy as np

from model.events.earliest_run import Waiting, run
from model.program.ops import Irecv, Isend, Operation, Recv, Send
from model.program.ops import Wait as WaitFor
from model.semantics.arrays import Ints
from model.semantics.parameters import Semantics
from model.semantics.table import IRECV, ISEND, RECV, SEND, WAIT, Table, columns_of_table
from model.verdict.result import Blocked, Result, Verdict

LISTED = 1000
"""Ranks of a circuit that a result lists."""


def check_table(given: Table, rules: Semantics) -> Result:
    """The verdict on a table under one library, with a shortest dead circuit and the makespan; there is no trace.

    Raises ValueError where the library needs the list of operations (see `columns_of_table`).
    """
    found = run(columns_of_table(given, rules))
    graph = found.built.graph
    waits = found.circuit() if found.hangs else ()
    circuit = _named(waits[:LISTED], given)
    polls = rules.polling and any(item.op.startswith(("send", "isend", "wait")) for item in circuit)
    verdict: Verdict = "ok"
    if found.hangs:
        verdict = "livelock" if polls else "deadlock"
    elif len(found.left_over):
        verdict = "lost"
    stuck = found.stuck_ranks()
    note = ""
    if found.hangs:
        note = f"{len(stuck)} of {given.ranks} ranks are stuck; the event graph gives no trace"
        if len(waits) > LISTED:
            note += f"; the circuit has {len(waits)} ranks, of which the first {LISTED} are listed"
    depends = verdict == "ok" and rules.buffers and run(columns_of_table(given, rules.unbuffered())).hangs
    return Result(
        verdict=verdict,
        states=graph.events,
        transitions=len(graph.tails),
        engine="graph",
        circuit=circuit,
        blocked=circuit,
        depends_on_buffering=depends,
        note=note,
        makespan=found.makespan,
    )


def _named(waits: tuple[Waiting, ...], given: Table) -> tuple[Blocked, ...]:
    rows = _Rows(given)
    return tuple(
        Blocked(rank=item.rank, op=str(rows.operation(item.rank, item.at)), index=item.at, waits_for=(item.waits_for,))
        for item in waits
    )


class _Rows:
    """The operations of a table, one at a time."""

    def __init__(self, given: Table) -> None:
        self._table = given
        self._starts: Ints = np.searchsorted(given.rank, np.arange(given.ranks + 1)).astype(np.int64)

    def operation(self, rank: int, index: int) -> Operation:
        """Operation `index` of a rank; requests are named by their rows."""
        given, start = self._table, int(self._starts[rank])
        first = start + int(np.searchsorted(given.index[start : self._starts[rank + 1]], index))
        kind, peer, tag, nbytes = (int(column[first]) for column in (given.kind, given.peer, given.tag, given.nbytes))
        if kind == WAIT:
            rows = np.arange(first, self._starts[rank + 1])
            return WaitFor(requests=tuple(given.request[rows[given.index[rows] == index]].tolist()))
        made: dict[int, Operation] = {
            SEND: Send(peer=peer, tag=tag, nbytes=nbytes),
            RECV: Recv(peer=peer, tag=tag),
            ISEND: Isend(peer=peer, tag=tag, nbytes=nbytes, request=first),
            IRECV: Irecv(peer=peer, tag=tag, request=first),
        }
        return made[kind]
