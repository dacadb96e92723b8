"""The operations of a rank: the one vocabulary of the whole project.

A *program* is one list of operations per rank (`model.program.checked`). Ordering policies and the serving loop
yield these operations, the explorer steps through them and the transport of `reference` performs them on a real
library, so what is proved is what runs. `str(op)` is the text form, such as `isend(1, request=a)`.

A send and a receive match by communicator, source, destination and tag, first in, first out (theory,
"Frame"). `ANY` is the wildcard of MPI for the peer or the tag of a receive or probe, `NULL` its null
process: an operation with that peer returns at once and communicates nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, fields
from typing import Any, ClassVar, Final, Literal

ANY = -1
"""Any source, or any tag, of a receive or probe."""

NULL = -2
"""The null process as a peer."""

DEFAULT_NBYTES = 1
"""The size of a message of which none is said."""

RequestId = int | str
"""The name that an isend or irecv gives and a wait takes; local to its rank, reusable after the wait."""

Mode = Literal["standard", "sync", "buffered"]
"""Of a send. standard: stored as far as the library stores; sync (`ssend`): never complete before its
receive is posted; buffered (`bsend`): stored whatever the library does."""


class _Shown:
    """An operation shows as its text form, defaults left out: `isend(1, tag=2, request=a)`."""

    __slots__ = ()

    def __str__(self) -> str:
        return _text(self)  # type: ignore[arg-type]  # every subclass is an Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Send(_Shown):
    """Blocking send of `nbytes` bytes to rank `peer`."""

    kind: ClassVar[str] = "send"
    peer: int
    tag: int = 0
    nbytes: int = DEFAULT_NBYTES
    comm: str = "world"
    mode: Mode = "standard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recv(_Shown):
    """Blocking receive from rank `peer` (or `ANY`)."""

    kind: ClassVar[str] = "recv"
    peer: int
    tag: int = 0
    comm: str = "world"


@dataclass(frozen=True, slots=True, kw_only=True)
class Isend(_Shown):
    """Send that gives a request. When its call returns is a matter of semantics (`isend_returns`)."""

    kind: ClassVar[str] = "isend"
    peer: int
    request: RequestId
    tag: int = 0
    nbytes: int = DEFAULT_NBYTES
    comm: str = "world"
    mode: Mode = "standard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Irecv(_Shown):
    """Receive that is posted and gives a request; its call returns at once under every semantics."""

    kind: ClassVar[str] = "irecv"
    peer: int
    request: RequestId
    tag: int = 0
    comm: str = "world"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait(_Shown):
    """Returns when every one of `requests` is complete (MPI's wait and waitall)."""

    kind: ClassVar[str] = "wait"
    requests: tuple[RequestId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe(_Shown):
    """Returns when a message that a receive here would match is on its way; takes nothing."""

    kind: ClassVar[str] = "probe"
    peer: int
    tag: int = 0
    comm: str = "world"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sendrecv(_Shown):
    """A send to `peer` and a receive from `source` at once; returns when both are complete."""

    kind: ClassVar[str] = "sendrecv"
    peer: int
    source: int
    tag: int = 0
    source_tag: int = 0
    nbytes: int = DEFAULT_NBYTES
    comm: str = "world"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch(_Shown):
    """Isends and irecvs that are posted together (a group) and waited for together."""

    kind: ClassVar[str] = "batch"
    ops: tuple[Isend | Irecv, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Barrier(_Shown):
    """Returns when every rank of the program has come to its barrier of the same number."""

    kind: ClassVar[str] = "barrier"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute(_Shown):
    """Local work of `seconds`; communicates nothing."""

    kind: ClassVar[str] = "compute"
    label: str = ""
    seconds: float = 0.0


Operation = Send | Recv | Isend | Irecv | Wait | Probe | Sendrecv | Batch | Barrier | Compute

NAMES: Final[Mapping[str, tuple[type[Operation], Mode | None]]] = {
    "send": (Send, "standard"),
    "ssend": (Send, "sync"),
    "bsend": (Send, "buffered"),
    "isend": (Isend, "standard"),
    "issend": (Isend, "sync"),
    "ibsend": (Isend, "buffered"),
    "recv": (Recv, None),
    "irecv": (Irecv, None),
    "wait": (Wait, None),
    "waitall": (Wait, None),
    "probe": (Probe, None),
    "sendrecv": (Sendrecv, None),
    "batch": (Batch, None),
    "barrier": (Barrier, None),
    "compute": (Compute, None),
}
"""What an operation is called to the class and, for a send, the mode. `waitall` is read, `wait` written."""

PEERS, TAGS = ("peer", "source"), ("tag", "source_tag")
WORDS = {ANY: "any", NULL: "null"}
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def name(op: Operation) -> str:
    """The name of an operation, with the mode of a send: `isend`, `issend`, `ibsend`."""
    if isinstance(op, Send | Isend) and op.mode != "standard":
        letter = {"sync": "s", "buffered": "b"}[op.mode]
        return f"{op.kind[: -len('send')]}{letter}send"
    return op.kind


def shown_fields(op: Operation) -> Iterator[tuple[Field[Any], Any]]:
    """The fields of an operation in either form, with wildcards and the null process in words."""
    for field in fields(op):
        value = getattr(op, field.name)
        if field.name in PEERS or (field.name in TAGS and value == ANY):
            value = WORDS.get(value, value)
        if field.name != "mode":
            yield field, value


def _text(op: Operation) -> str:
    if isinstance(op, Batch):
        return f"batch({', '.join(map(str, op.ops))})"
    if isinstance(op, Wait):
        return f"wait({', '.join(map(_word, op.requests))})"
    shown = [
        _word(value) if field.name == "peer" else f"{field.name}={_word(value)}"
        for field, value in shown_fields(op)
        if value != field.default
    ]
    return f"{name(op)}({', '.join(shown)})"


def _word(value: int | float | str) -> str:
    if isinstance(value, str):
        return value if _BARE.fullmatch(value) else json.dumps(value)
    return str(value)
