"""A program's other face: one table of operations in columns, so that a million ranks need no million objects.

It holds blocking and posted sends and receives in standard mode, and waits; what else a program may do has
only the first face. `columns_of_table` lowers it as `lowering` does the operations (a test holds the two equal).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.program.checked import Program
from model.program.ops import ANY, Irecv, Isend, Operation, Recv, RequestId, Send, Wait
from model.semantics.arrays import NONE, Bools, Ints
from model.semantics.columns import Columns
from model.semantics.parameters import UNLIMITED, Semantics

SEND, RECV, ISEND, IRECV, WAIT = range(5)
"""Values of `Table.kind`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One row a send or receive, and one for each request that a wait waits for, rank by rank, in program order.

    rank, index: the operation, by its place in its rank's list. kind: SEND to WAIT. peer, tag, nbytes: of the
    message; 0 of a wait. request: of a wait the row that it waits for, else NONE.
    """

    ranks: int
    rank: Ints
    index: Ints
    kind: Ints
    peer: Ints
    tag: Ints
    nbytes: Ints
    request: Ints


def table_of(program: Program) -> Table:
    """The table of a program. Raises ValueError on an operation that has no row, and on wildcards."""
    rows: list[tuple[int, ...]] = []
    for rank, ops in enumerate(program):
        requests: dict[RequestId, int] = {}
        for index, op in enumerate(ops):
            if isinstance(op, Wait):
                rows += [(rank, index, WAIT, 0, 0, 0, requests[request]) for request in op.requests]
                continue
            if isinstance(op, Isend | Irecv):
                requests[op.request] = len(rows)
            rows.append((rank, index, *_message(op), NONE))
    columns = np.array(rows, dtype=np.int64).reshape(-1, 7).T
    names = ("rank", "index", "kind", "peer", "tag", "nbytes", "request")
    return Table(ranks=len(program), **dict(zip(names, columns, strict=True)))


def _message(op: Operation) -> tuple[int, int, int, int]:
    kinds: dict[type, int] = {Send: SEND, Recv: RECV, Isend: ISEND, Irecv: IRECV}
    if (
        not isinstance(op, Send | Recv | Isend | Irecv)
        or op.comm != "world"
        or getattr(op, "mode", "standard") != "standard"
    ):
        raise ValueError(f"{op} has no row in a table; use the list of operations")
    if op.peer < 0 or op.tag == ANY:
        raise ValueError(f"{op} has no row in a table, as its peer or its tag is left open; use the list of operations")
    return kinds[type(op)], op.peer, op.tag, op.nbytes if isinstance(op, Send | Isend) else 0


def fits_table(rules: Semantics) -> bool:
    """Whether a table says all that a library makes of a program."""
    return rules.order == "none" and rules.connection == "warm" and rules.isend_returns != "deferred"


class TableOperations:
    """The operations of a table, one at a time."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._starts: Ints = np.searchsorted(table.rank, np.arange(table.ranks + 1)).astype(np.int64)

    def operation(self, rank: int, index: int) -> Operation:
        """Operation `index` of a rank; requests are named by their rows."""
        table, start = self._table, int(self._starts[rank])
        first = start + int(np.searchsorted(table.index[start : self._starts[rank + 1]], index))
        kind, peer, tag, nbytes = (int(column[first]) for column in (table.kind, table.peer, table.tag, table.nbytes))
        if kind == WAIT:
            rows = np.arange(first, self._starts[rank + 1])
            return Wait(requests=tuple(table.request[rows[table.index[rows] == index]].tolist()))
        operations: dict[int, Operation] = {
            SEND: Send(peer=peer, tag=tag, nbytes=nbytes),
            RECV: Recv(peer=peer, tag=tag),
            ISEND: Isend(peer=peer, tag=tag, nbytes=nbytes, request=first),
            IRECV: Irecv(peer=peer, tag=tag, request=first),
        }
        return operations[kind]


def columns_of_table(table: Table, rules: Semantics) -> Columns:
    """The columns of a table under one library.

    Raises ValueError on a library that queues, sets up connections at first use or defers transfers.
    """
    if not fits_table(rules):
        raise ValueError(
            f"{rules.name} queues its operations, sets up connections at first use or defers transfers, which a table "
            "cannot say; use the list of operations (fewer ranks)"
        )
    waits = table.kind == WAIT
    first = np.ones(len(table.rank), dtype=np.bool_)  # rows that begin an operation
    first[1:] = (np.diff(table.rank) != 0) | (np.diff(table.index) != 0)
    instruction = np.cumsum(first) - 1
    message = np.cumsum(~waits) - 1
    at = instruction[~waits]
    kind, nbytes = table.kind[~waits], table.nbytes[~waits]
    sends = (kind == SEND) | (kind == ISEND)
    isends_block = rules.isend_returns in ("match", "completion")
    always = sends & _always(rules, nbytes)
    bounded = sends & ~always
    zeros = np.zeros(int(first.sum()), dtype=np.int64)
    pairs = np.zeros((0, 2), dtype=np.int64)
    return Columns(
        ranks=table.ranks,
        rank_of=np.arange(table.ranks, dtype=np.int64),
        starts=np.searchsorted(table.rank[first], np.arange(table.ranks + 1)).astype(np.int64),
        index=table.index[first],
        silent=zeros.astype(np.bool_),
        seconds=zeros.astype(np.float64),
        after=zeros + NONE,
        at=at,
        sends=sends,
        owner=table.rank[~waits],
        peer=table.peer[~waits],
        tag=table.tag[~waits],
        comm=np.zeros(len(at), dtype=np.int64),
        nbytes=nbytes,
        blocking=(kind == SEND) | (kind == RECV) | ((kind == ISEND) & isends_block),
        early=(kind == ISEND) & (rules.isend_returns == "match"),
        always=always,
        capacity=np.where(bounded, rules.capacity, 0),
        fifo=np.where(bounded, rules.fifo, 0),
        polling=np.full(len(at), rules.polling),
        awaits=np.stack((instruction[waits], message[table.request[waits]]), axis=1),
        meets=pairs,
        connects=pairs,
        absent=pairs,
        probes=np.zeros((0, 4), dtype=np.int64),
    )


def _always(rules: Semantics, nbytes: Ints) -> Bools:
    """Which messages are stored whatever else waits."""
    if UNLIMITED in (rules.eager_limit, rules.capacity, rules.fifo):
        return np.ones(len(nbytes), dtype=np.bool_)
    return (nbytes <= rules.eager_limit) & (rules.eager_limit > 0)
