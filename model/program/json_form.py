"""Operations and programs as text and as JSON, both ways.

Text: `isend(1, tag=2, request=a)`, defaults left out; a program has one line a rank, `0: send(1); recv(1)`.
JSON: `{"op": "isend", "peer": 1, "tag": 2, "request": "a"}`; a program is `{"programs": [[...], ...]}`.
The mode of a send is in its name: send, ssend, bsend, isend, issend, ibsend. `any` and `null` stand for
`ANY` and `NULL`. Every malformed input is a ValueError of one line that names the value and the remedy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, Final

from model.program.ops import (
    ANY,
    NULL,
    Barrier,
    Batch,
    Compute,
    Irecv,
    Isend,
    Mode,
    Operation,
    Probe,
    Program,
    Recv,
    Send,
    Sendrecv,
    Wait,
    program,
)

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

_PEERS, _TAGS = ("peer", "source"), ("tag", "source_tag")
_WORDS = {ANY: "any", NULL: "null"}
_TYPES: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys((*_PEERS, *_TAGS, "nbytes"), (int,)),
    "request": (int, str),
    "comm": (str,),
    "label": (str,),
    "seconds": (int, float),
}
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def name(op: Operation) -> str:
    """The name of an operation, with the mode of a send: `isend`, `issend`, `ibsend`."""
    if isinstance(op, Send | Isend) and op.mode != "standard":
        letter = {"sync": "s", "buffered": "b"}[op.mode]
        return f"{op.kind[: -len('send')]}{letter}send"
    return op.kind


def _shown(op: Operation) -> Iterator[tuple[Field[Any], Any]]:
    """The fields of an operation in either form, with wildcards and the null process in words."""
    for field in fields(op):
        value = getattr(op, field.name)
        if field.name in _PEERS or (field.name in _TAGS and value == ANY):
            value = _WORDS.get(value, value)
        if field.name != "mode":
            yield field, value


def text(op: Operation) -> str:
    """One operation in a trace or a table: `isend(1, tag=2, request=a)`; defaults are left out."""
    if isinstance(op, Batch):
        return f"batch({', '.join(text(part) for part in op.ops)})"
    if isinstance(op, Wait):
        return f"wait({', '.join(map(_word, op.requests))})"
    shown = [
        _word(value) if field.name == "peer" else f"{field.name}={_word(value)}"
        for field, value in _shown(op)
        if value != field.default
    ]
    return f"{name(op)}({', '.join(shown)})"


def _word(value: int | float | str) -> str:
    if isinstance(value, str):
        return value if _BARE.fullmatch(value) else json.dumps(value)
    return str(value)


def program_text(lists: Program) -> str:
    """A program as text, one line a rank."""
    return "\n".join(f"{rank}: {'; '.join(map(text, ops))}".rstrip() for rank, ops in enumerate(lists)) + "\n"


def to_json(op: Operation) -> dict[str, Any]:
    """The JSON object of one operation; fields at their default are left out."""
    if isinstance(op, Batch):
        return {"op": "batch", "ops": [to_json(part) for part in op.ops]}
    if isinstance(op, Wait):
        return {"op": "wait", "requests": list(op.requests)}
    return {"op": name(op), **{field.name: value for field, value in _shown(op) if value != field.default}}


def program_json(lists: Program) -> dict[str, Any]:
    """The JSON object of a program."""
    return {"programs": [[to_json(op) for op in ops] for ops in lists]}


def short(value: Any) -> str:
    """A value in an error: as it is written, or the beginning of that where it is long."""
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def from_json(data: Mapping[str, Any]) -> Operation:
    """The operation of a JSON object. `{"op": "wait", "request": 1}` means a wait for one request.

    Raises ValueError on an unknown operation, an unknown or missing field, or a value of a wrong type.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"operation {short(data)} is not an object; write one like {{'op': 'send', 'peer': 1}}")
    given = dict(data)
    kind = given.pop("op", None)
    if not isinstance(kind, str) or kind not in NAMES:
        raise ValueError(f"unknown operation {short(kind)}; choose one of {', '.join(NAMES)}")
    cls, mode = NAMES[kind]
    if cls is Wait and "request" in given and "requests" not in given:
        given["requests"] = [given.pop("request")]
    known = {field.name for field in fields(cls)} - {"mode"}
    for field, value in given.items():
        if field not in known:
            raise ValueError(f"unknown field {short(field)} of {kind}; it has {', '.join(sorted(known)) or 'none'}")
        given[field] = _value(kind, field, value)
    if mode not in (None, "standard"):
        given["mode"] = mode
    lacking = [field.name for field in fields(cls) if field.default is MISSING and field.name not in given]
    if lacking:
        raise ValueError(f"{kind} without {', '.join(lacking)}; add it: {short(data)}")
    return cls(**given)


def _value(kind: str, field: str, value: Any) -> Any:
    if field == "ops":
        if not isinstance(value, list):
            raise ValueError(f"ops of batch is {short(value)}; give a list of isend and irecv")
        return tuple(from_json(part) for part in value)
    if field == "requests":
        if not isinstance(value, list) or not all(_is(item, (int, str)) for item in value):
            raise ValueError(f"requests of wait is {short(value)}; give a list of numbers or names")
        return tuple(value)
    if value == "any" and field in (*_PEERS, *_TAGS):
        return ANY
    if value == "null" and field in _PEERS:
        return NULL
    if not _is(value, _TYPES[field]):
        wanted = " or ".join(cls.__name__ for cls in _TYPES[field])
        raise ValueError(f"{field} of {kind} is {short(value)}; give {wanted}")
    return value


def _is(value: Any, types: tuple[type, ...]) -> bool:
    return isinstance(value, types) and not isinstance(value, bool)


def program_from_json(data: Any) -> Program:
    """The program of `{"programs": [...]}`; ValueError on any other object."""
    lists = data["programs"] if isinstance(data, dict) and set(data) == {"programs"} else None
    if not isinstance(lists, list) or not all(isinstance(ops, list) for ops in lists):
        raise ValueError('give {"programs": [...]}, one list of operations per rank and nothing else')
    return program([from_json(op) for op in ops] for ops in lists)
