"""Verdicts in short, for tests that compare many of them."""

from dataclasses import fields

from model import Result, check
from model.program.checked import Program, program
from model.program.ops import Batch, Operation
from model.semantics.libraries import semantics

HANG, SPIN, OK = "deadlock", "livelock", "ok"


def verdicts(given: Program, *names: str) -> list[str]:
    return [check(given, semantics(name), engine="explorer").verdict for name in names]


def ranks_of(result: Result) -> list[int]:
    return [item.rank for item in result.circuit]


def pair(*ops: Operation) -> Program:
    """Two ranks with the same operations; their peer is the other one, which stands as rank 1 in `ops`."""

    def turned(op: Operation) -> Operation:
        if isinstance(op, Batch):
            return Batch(ops=tuple(turned(part) for part in op.ops))  # type: ignore[misc]
        values = {field.name: getattr(op, field.name) for field in fields(op)}
        return type(op)(**{**values, "peer": 0}) if "peer" in values else op

    return program([ops, [turned(op) for op in ops]])
