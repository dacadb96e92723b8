"""Programs: the operations of every rank, checked as a whole."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from model.program.ops import (
    ANY,
    NULL,
    Barrier,
    Batch,
    Compute,
    Irecv,
    Isend,
    Operation,
    Probe,
    Recv,
    RequestId,
    Send,
    Sendrecv,
    Wait,
)

Program = tuple[tuple[Operation, ...], ...]
"""Index r holds the operations of rank r, in order."""


def program(ranks: Iterable[Iterable[Operation]]) -> Program:
    """The checked program of per-rank operations.

    Raises ValueError where a peer is not a rank of the program, a size is negative, a wildcard stands in
    a send, a wait names a request that was not started, or a request is started again before its wait.
    """
    lists: Program = tuple(tuple(ops) for ops in ranks)
    if not lists:
        raise ValueError("a program without ranks; give at least one list of operations")
    for rank, ops in enumerate(lists):
        started: set[RequestId] = set()
        for op in ops:
            try:
                _check(op, ranks=len(lists), started=started)
            except ValueError as error:
                raise ValueError(f"rank {rank}, {op}: {error}") from None
    return lists


def _check(op: Operation, *, ranks: int, started: set[RequestId]) -> None:
    if isinstance(op, Batch):
        if not op.ops or not all(isinstance(part, Isend | Irecv) for part in op.ops):
            raise ValueError("a batch holds one or more isend and irecv")
        for part in op.ops:
            _check(part, ranks=ranks, started=started)
        started.difference_update(part.request for part in op.ops)  # a batch is waited for as a whole
    elif isinstance(op, Wait):
        if len(set(op.requests)) < len(op.requests):
            raise ValueError("a request stands twice; name each once")
        for request in op.requests:
            if request not in started:
                raise ValueError(f"request {request!r} was not started; put its isend or irecv first")
        started.difference_update(op.requests)
    elif isinstance(op, Compute):
        if not 0 <= op.seconds < math.inf:
            raise ValueError(f"seconds is {op.seconds}; give a finite number, 0 or more")
    elif not isinstance(op, Barrier):
        _check_message(op, ranks=ranks)
        if isinstance(op, Isend | Irecv):
            if op.request in started:
                raise ValueError(f"request {op.request!r} is still open; wait for it first")
            started.add(op.request)


def _check_message(op: Send | Isend | Recv | Irecv | Probe | Sendrecv, *, ranks: int) -> None:
    takes = isinstance(op, Recv | Irecv | Probe)
    _check_end(op.peer, op.tag, ranks=ranks, wild=takes)
    if isinstance(op, Sendrecv):
        _check_end(op.source, op.source_tag, ranks=ranks, wild=True)
    if isinstance(op, Send | Isend | Sendrecv) and op.nbytes < 0:
        raise ValueError(f"nbytes is {op.nbytes}; give 0 or more")
    if isinstance(op, Send | Isend) and op.mode not in ("standard", "sync", "buffered"):
        raise ValueError(f"mode is {op.mode!r}; choose one of standard, sync, buffered")


def _check_end(peer: int, tag: int, *, ranks: int, wild: bool) -> None:
    if not (0 <= peer < ranks or peer == NULL or (wild and peer == ANY)):
        raise ValueError(f"there is no rank {peer}; ranks are 0 to {ranks - 1}")
    if tag < 0 and not (wild and tag == ANY):
        raise ValueError(f"tag is {tag}; give 0 or more")


def parts(op: Operation) -> tuple[Operation, ...]:
    """The operations inside a batch; any other operation is its own only part."""
    return op.ops if isinstance(op, Batch) else (op,)


def wildcard_free(lists: Sequence[Sequence[Operation]]) -> bool:
    """Whether no receive of the program has `ANY` as its source or tag (then one schedule decides).

    A probe chooses nothing that a later receive depends on, so its wildcards do not count.
    """
    return not any(ANY in ends for ops in lists for op in ops for part in parts(op) for ends in _received(part))


def _received(op: Operation) -> Iterator[tuple[int, int]]:
    if isinstance(op, Recv | Irecv) and op.peer != NULL:
        yield op.peer, op.tag
    elif isinstance(op, Sendrecv) and op.source != NULL:
        yield op.source, op.source_tag
