"""The operations of a rank: the one vocabulary of the whole project.

A *program* is one list of operations per rank. Ordering policies and the serving loop yield these
operations, the explorer steps through them and the transport of `reference` performs them on a real
library, so what is proved is what runs. `model.program.json_form` writes and reads them as text and JSON.

A send and a receive match by communicator, source, destination and tag, first in, first out (theory,
"Frame"). `ANY` is the wildcard of MPI for the peer or the tag of a receive or probe, `NULL` its null
process: an operation with that peer returns at once and communicates nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

ANY = -1
"""Any source, or any tag, of a receive or probe."""

NULL = -2
"""The null process as a peer."""

Request = int | str
"""The name that an isend or irecv gives and a wait takes; local to its rank, reusable after the wait."""

Mode = Literal["standard", "sync", "buffered"]
"""Of a send. standard: stored as far as the library stores; sync (`ssend`): never complete before its
receive is posted; buffered (`bsend`): stored whatever the library does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Blocking send of `nbytes` bytes to rank `peer`."""

    kind: ClassVar[str] = "send"
    peer: int
    tag: int = 0
    nbytes: int = 1
    comm: str = "world"
    mode: Mode = "standard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recv:
    """Blocking receive from rank `peer` (or `ANY`)."""

    kind: ClassVar[str] = "recv"
    peer: int
    tag: int = 0
    comm: str = "world"


@dataclass(frozen=True, slots=True, kw_only=True)
class Isend:
    """Send that gives a request. When its call returns is a matter of semantics (`isend_returns`)."""

    kind: ClassVar[str] = "isend"
    peer: int
    request: Request
    tag: int = 0
    nbytes: int = 1
    comm: str = "world"
    mode: Mode = "standard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Irecv:
    """Receive that is posted and gives a request; its call returns at once under every semantics."""

    kind: ClassVar[str] = "irecv"
    peer: int
    request: Request
    tag: int = 0
    comm: str = "world"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Returns when every one of `requests` is complete (MPI's wait and waitall)."""

    kind: ClassVar[str] = "wait"
    requests: tuple[Request, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Returns when a message that a receive here would match is on its way; takes nothing."""

    kind: ClassVar[str] = "probe"
    peer: int
    tag: int = 0
    comm: str = "world"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sendrecv:
    """A send to `peer` and a receive from `source` at once; returns when both are complete."""

    kind: ClassVar[str] = "sendrecv"
    peer: int
    source: int
    tag: int = 0
    source_tag: int = 0
    nbytes: int = 1
    comm: str = "world"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Isends and irecvs that are posted together (a group) and waited for together."""

    kind: ClassVar[str] = "batch"
    ops: tuple[Isend | Irecv, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Barrier:
    """Returns when every rank of the program has come to its barrier of the same number."""

    kind: ClassVar[str] = "barrier"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """Local work of `seconds`; communicates nothing."""

    kind: ClassVar[str] = "compute"
    label: str = ""
    seconds: float = 0.0


Operation = Send | Recv | Isend | Irecv | Wait | Probe | Sendrecv | Batch | Barrier | Compute
Program = tuple[tuple[Operation, ...], ...]
"""Index r holds the operations of rank r, in order."""


def program(ranks: Iterable[Iterable[Operation]]) -> Program:
    """The checked program of per-rank operations.

    Raises ValueError where a peer is not a rank of the program, a size is negative, a wildcard stands in
    a send, a wait names a request that was not started, or a request is started again before its wait.
    """
    from model.program.json_form import text  # the forms know the operations, and not the other way round

    lists: Program = tuple(tuple(ops) for ops in ranks)
    if not lists:
        raise ValueError("a program without ranks; give at least one list of operations")
    for rank, ops in enumerate(lists):
        started: set[Request] = set()
        for op in ops:
            try:
                _check(op, ranks=len(lists), started=started)
            except ValueError as error:
                raise ValueError(f"rank {rank}, {text(op)}: {error}") from None
    return lists


def _check(op: Operation, *, ranks: int, started: set[Request]) -> None:
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
