"""Operations and programs as JSON, both ways.

`{"op": "isend", "peer": 1, "tag": 2, "request": "a"}`; a program is `{"programs": [[...], ...]}`, one list a rank.
The mode of a send is in its name: send, ssend, bsend, isend, issend, ibsend. `any` and `null` stand for
`ANY` and `NULL`. Every malformed input is a ValueError of one line that names the value and the remedy; msgspec and
pydantic check the same types, but their errors name neither.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from model.program.checked import Program, program
from model.program.ops import ANY, NAMES, NULL, PEERS, TAGS, Batch, Operation, Wait, name, shown_fields

_TYPES: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys((*PEERS, *TAGS, "nbytes"), (int,)),
    "request": (int, str),
    "comm": (str,),
    "label": (str,),
    "seconds": (int, float),
}
_SAMPLES: Mapping[str, Any] = {"peer": 1, "source": 1, "request": "a", "requests": ["a"]}
_ISEND = {"op": "isend", "peer": 1, "request": "a"}


def to_json(op: Operation) -> dict[str, Any]:
    """The JSON object of one operation; fields at their default are left out."""
    if isinstance(op, Batch):
        return {"op": "batch", "ops": [to_json(part) for part in op.ops]}
    if isinstance(op, Wait):
        return {"op": "wait", "requests": list(op.requests)}
    return {"op": name(op), **{field.name: value for field, value in shown_fields(op) if value != field.default}}


def program_json(lists: Program) -> dict[str, Any]:
    """The JSON object of a program."""
    return {"programs": [[to_json(op) for op in ops] for ops in lists]}


def short(value: Any) -> str:
    """A value in an error: as it is written, or the beginning of that where it is long."""
    return _cut(repr(value), 60)


def _cut(shown: str, most: int) -> str:
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."


def from_json(data: Mapping[str, Any]) -> Operation:
    """The operation of a JSON object. `{"op": "wait", "request": 1}` means a wait for one request.

    Raises ValueError on an unknown operation, an unknown or missing field, or a value of a wrong type.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f'operation {short(data)} is not an object; write one like {{"op": "send", "peer": 1}}')
    kind, values = data.get("op"), {field: value for field, value in data.items() if field != "op"}
    lacks = missing_fields(kind, values)
    if lacks:
        operation(str(kind), {**values, **lacks})  # unknown fields come first
        raise ValueError(f"{needs(str(kind), lacks)}: {_cut(json.dumps({'op': kind, **values, **lacks}), 120)}")
    return operation(str(kind), values)


def missing_fields(kind: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a known operation needs and has not, each with a value that would do."""
    if not isinstance(kind, str) or kind not in NAMES:
        raise ValueError(f"unknown operation {short(kind)}; choose one of {', '.join(NAMES)}")
    cls = NAMES[kind][0]
    if cls is Wait and "request" in values:
        return {}
    needs = (field.name for field in fields(cls) if field.default is MISSING and field.name not in values)
    return {field: [_ISEND] if field == "ops" else _SAMPLES[field] for field in needs}


def needs(kind: str, lacks: Mapping[str, Any]) -> str:
    """That an operation lacks these fields, as an error begins."""
    return f"{kind} needs {' and '.join(field if field.endswith('s') else f'a {field}' for field in lacks)}"


def operation(kind: str, values: Mapping[str, Any]) -> Operation:
    """The operation of a known name that lacks no field; ValueError on an unknown field or a value of a wrong type."""
    cls, mode = NAMES[kind]
    values = dict(values)
    if cls is Wait and "request" in values and "requests" not in values:
        values["requests"] = [values.pop("request")]
    known = {field.name for field in fields(cls)} - {"mode"}
    for field, value in values.items():
        if field not in known:
            raise ValueError(f"unknown field {short(field)} of {kind}; it has {', '.join(sorted(known)) or 'none'}")
        values[field] = _value(kind, field, value)
    if mode not in (None, "standard"):
        values["mode"] = mode
    return cls(**values)


def _value(kind: str, field: str, value: Any) -> Any:
    if field == "ops":
        if not isinstance(value, list):
            raise ValueError(f"ops of batch is {short(value)}; give a list of isend and irecv")
        if any(isinstance(part, Mapping) and part.get("op") == "batch" for part in value):
            raise ValueError("a batch stands in a batch; it holds only isend and irecv")
        return tuple(from_json(part) for part in value)
    if field == "requests":
        if not isinstance(value, list) or not all(_is(item, (int, str)) for item in value):
            raise ValueError(f"requests of wait is {short(value)}; give a list of numbers or names")
        return tuple(value)
    if value == "any" and field in (*PEERS, *TAGS):
        return ANY
    if value == "null" and field in PEERS:
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
    ranks: list[list[Operation]] = []
    for rank, ops in enumerate(lists):
        try:
            ranks.append([from_json(op) for op in ops])
        except ValueError as error:
            raise ValueError(f"rank {rank}: {error}") from None
    return program(ranks)
