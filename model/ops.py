"""The operations of a rank: the one vocabulary of the whole project.

A *program* is one list of operations per rank. Ordering policies and the serving loop yield these
operations, the explorer steps through them and the transport of `reference` performs them on a real
library, so what is proved is what runs.

A send and a receive match by communicator, source, destination and tag, first in, first out (theory,
"Frame"). `ANY` is the wildcard of MPI for the peer or the tag of a receive.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

ANY = -1
"""Any source, or any tag, of a receive."""

Request = int | str
"""The name that an isend or irecv gives and a wait takes; local to its rank, reusable after the wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Blocking standard-mode send of `nbytes` bytes to rank `peer`."""

    kind: ClassVar[str] = "send"
    peer: int
    tag: int = 0
    nbytes: int = 1
    comm: str = "world"


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
    """Returns when every one of `requests` is complete."""

    kind: ClassVar[str] = "wait"
    requests: tuple[Request, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Isends and irecvs that are posted together (a group) and waited for together."""

    kind: ClassVar[str] = "batch"
    ops: tuple[Isend | Irecv, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """Local work of `seconds`; communicates nothing."""

    kind: ClassVar[str] = "compute"
    label: str = ""
    seconds: float = 0.0


Operation = Send | Recv | Isend | Irecv | Wait | Batch | Compute
Program = tuple[tuple[Operation, ...], ...]
"""Index r holds the operations of rank r, in order."""

KINDS: Mapping[str, type[Operation]] = {cls.kind: cls for cls in (Send, Recv, Isend, Irecv, Wait, Batch, Compute)}


def text(op: Operation) -> str:
    """One operation in a trace or a table: `isend(1, tag=2, request=a)`; defaults are left out."""
    if isinstance(op, Batch):
        return f"batch({', '.join(text(part) for part in op.ops)})"
    if isinstance(op, Wait):
        return f"wait({', '.join(map(str, op.requests))})"
    shown = []
    for field in fields(op):
        value = getattr(op, field.name)
        if field.name == "peer":
            shown.append("any" if value == ANY else str(value))
        elif value != field.default:
            shown.append(f"{field.name}={'any' if field.name == 'tag' and value == ANY else value}")
    return f"{op.kind}({', '.join(shown)})"


def to_json(op: Operation) -> dict[str, Any]:
    """The JSON object of one operation; fields at their default are left out."""
    out: dict[str, Any] = {"op": op.kind}
    for field in fields(op):
        value = getattr(op, field.name)
        if field.name == "ops":
            value = [to_json(part) for part in value]
        elif field.name in ("peer", "tag") and value == ANY:
            value = "any"
        elif field.name == "requests":
            value = list(value)
        if value != field.default:
            out[field.name] = value
    return out


def from_json(data: Mapping[str, Any]) -> Operation:
    """The operation of a JSON object. `{"op": "wait", "request": 1}` means a wait for one request.

    Raises ValueError on an unknown operation, an unknown or missing field, or a value of a wrong type.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"operation {data!r} is not an object; write one like {{'op': 'send', 'peer': 1}}")
    given = dict(data)
    kind = given.pop("op", None)
    cls = KINDS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise ValueError(f"unknown operation {kind!r}; choose one of {', '.join(KINDS)}")
    if cls is Wait and "request" in given and "requests" not in given:
        given["requests"] = [given.pop("request")]
    known = {field.name for field in fields(cls)}
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"unknown field {name!r} of {kind}; it has {', '.join(sorted(known))}")
        given[name] = _field_from_json(kind, name, value)
    try:
        return cls(**given)
    except TypeError as error:
        raise ValueError(f"malformed {kind} {data!r}: {error}") from None


_TYPES: Mapping[str, tuple[type, ...]] = {
    "peer": (int,),
    "tag": (int,),
    "nbytes": (int,),
    "request": (int, str),
    "comm": (str,),
    "label": (str,),
    "seconds": (int, float),
}


def _field_from_json(kind: str, name: str, value: Any) -> Any:
    if name == "ops":
        if not isinstance(value, list):
            raise ValueError(f"ops of batch is {value!r}; give a list of isend and irecv")
        return tuple(from_json(part) for part in value)
    if name == "requests":
        if not isinstance(value, list) or not all(_is(item, (int, str)) for item in value):
            raise ValueError(f"requests of wait is {value!r}; give a list of numbers or names")
        return tuple(value)
    if value == "any" and name in ("peer", "tag"):
        return ANY
    if not _is(value, _TYPES[name]):
        wanted = " or ".join(cls.__name__ for cls in _TYPES[name])
        raise ValueError(f"{name} of {kind} is {value!r}; give {wanted}")
    return value


def _is(value: Any, types: tuple[type, ...]) -> bool:
    return isinstance(value, types) and not isinstance(value, bool)


def program(ranks: Iterable[Iterable[Operation]]) -> Program:
    """The checked program of per-rank operations.

    Raises ValueError where a peer is not a rank of the program, a size is negative, a wildcard stands in
    a send, a wait names a request that was not started, or a request is started again before its wait.
    """
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
        return
    if isinstance(op, Wait):
        for request in op.requests:
            if request not in started:
                raise ValueError(f"request {request!r} was not started; put its isend or irecv first")
        started.difference_update(op.requests)
        return
    if isinstance(op, Compute):
        if not 0 <= op.seconds < math.inf:
            raise ValueError(f"seconds is {op.seconds}; give a finite number, 0 or more")
        return
    receives = isinstance(op, Recv | Irecv)
    if not (0 <= op.peer < ranks or (receives and op.peer == ANY)):
        raise ValueError(f"there is no rank {op.peer}; ranks are 0 to {ranks - 1}")
    if op.tag < 0 and not (receives and op.tag == ANY):
        raise ValueError(f"tag is {op.tag}; give 0 or more")
    if isinstance(op, Send | Isend) and op.nbytes < 0:
        raise ValueError(f"nbytes is {op.nbytes}; give 0 or more")
    if isinstance(op, Isend | Irecv):
        if op.request in started:
            raise ValueError(f"request {op.request!r} is still open; wait for it first")
        started.add(op.request)


def wildcard_free(lists: Sequence[Sequence[Operation]]) -> bool:
    """Whether no receive of the program has `ANY` as its source or tag (then one schedule decides)."""
    parts = (part for ops in lists for op in ops for part in (op.ops if isinstance(op, Batch) else (op,)))
    return not any(isinstance(op, Recv | Irecv) and ANY in (op.peer, op.tag) for op in parts)
