"""Operations and programs as text, both ways.

An operation is `isend(1, tag=2, request=a)`, defaults left out, as `str(op)` writes it. A program has one line a rank,
`0: send(1); recv(1)`; the ranks may be left out, and `#` starts a comment. Arbitrary text gives a program or a
ValueError of one line with a line that would do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from model.program.checked import Program, program
from model.program.json_form import missing_fields, needs, operation
from model.program.ops import Batch, Operation

EXAMPLE = "0: send(1); recv(1)"
"""A line of a program."""

_TOKEN = re.compile(
    r"""[ \t\r]+|\#[^\n]*|(?P<word>[A-Za-z_][A-Za-z0-9_-]*)|(?P<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)"""
    r"""|(?P<string>"(?:[^"\\\n]|\\.)*")|(?P<mark>[(),=;:\n])"""
)


def program_text(lists: Program) -> str:
    """A program as text, one line a rank."""
    return "\n".join(f"{rank}: {'; '.join(map(str, ops))}".rstrip() for rank, ops in enumerate(lists)) + "\n"


def parse(line: str) -> Operation:
    """The operation of a text such as `isend(1, tag=2, request=a)`; ValueError on any other text."""
    tokens = _Tokens(line)
    op = tokens.operation()
    tokens.end()
    return op


def parse_program(content: str) -> Program:
    """The program of lines such as `0: send(1); recv(1)`, one a rank in order; every line has its rank, or none has."""
    lists: list[list[Operation]] = []
    labelled = False
    for number, line in enumerate(content.split("\n"), start=1):
        try:
            tokens = _Tokens(line)
            if not tokens.left():
                continue
            label = tokens.label()
            labelled = label is not None if not lists else labelled
            ops = tokens.operations()
            _check_label(label, ops, rank=len(lists), labelled=labelled)
            lists.append(ops)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    return program(lists)


def _check_label(label: str | None, ops: Sequence[Operation], *, rank: int, labelled: bool) -> None:
    would_do = f"{rank}: {'; '.join(map(str, ops))}".rstrip()
    if label is None and labelled:
        raise ValueError(f"no rank stands before it; write {would_do}, or join it to the line above by ;")
    if label is not None and not labelled:
        raise ValueError("a rank stands before it and before the lines above none; write it before all or none")
    if label is not None and label != str(rank):
        raise ValueError(f"rank {rank} is expected, and {label} stands there; write {would_do}")


class _Tokens:
    """A line as words, numbers, strings and marks; the grammar is in its methods."""

    def __init__(self, line: str) -> None:
        self._items: list[tuple[str, str]] = []
        self._next = 0
        at = 0
        while at < len(line):
            match = _TOKEN.match(line, at)
            if match is None:
                raise ValueError(f"{line[at : at + 20]!r} is no part of a program; write one like {EXAMPLE}")
            if match.lastgroup is not None:
                self._items.append((match.lastgroup, match[0]))
            at = match.end()

    def left(self) -> bool:
        """Whether a token is left."""
        return self._next < len(self._items)

    def _peek(self, ahead: int = 0) -> str:
        """The next token or one after it, or nothing."""
        at = self._next + ahead
        return self._items[at][1] if at < len(self._items) else ""

    def _skip(self, mark: str) -> bool:
        """Whether the next token is this mark, which is then taken."""
        if self._peek() != mark:
            return False
        self._next += 1
        return True

    def _instead(self, expected: str) -> ValueError:
        shown = repr(self._peek()) if self.left() else "the end"
        return ValueError(f"{shown} stands where {expected} is expected; write one like {EXAMPLE}")

    def end(self) -> None:
        """Raises ValueError unless everything is taken."""
        if self.left():
            raise ValueError(f"{self._peek()!r} stands after an operation; put ; between two: send(1); recv(1)")

    def label(self) -> str | None:
        """The rank before a colon, where one stands; `rank 0` is a label, too, for the error to name."""
        if self._peek().lower() == "rank" and self._peek(2) == ":":
            self._next += 3
            return f"rank {self._items[self._next - 2][1]}"
        if self._peek(1) != ":":
            return None
        label = self._peek()
        self._next += 2
        return label

    def operations(self) -> list[Operation]:
        """What stands on the rest of the line."""
        ops: list[Operation] = []
        while self.left():
            ops.append(self.operation())
            if not self._skip(";"):
                break
        self.end()
        return ops

    def operation(self, *, inside: bool = False) -> Operation:
        """`name(...)`; inside a batch there is no further batch."""
        if not self.left() or self._items[self._next][0] != "word":
            raise self._instead("an operation")
        kind = self._peek()
        self._next += 1
        if inside and kind == "batch":
            raise ValueError("a batch stands in a batch; it holds only isend and irecv")
        if not self._skip("("):
            raise self._instead(f"( after {kind}")
        values: dict[str, Any] = {}
        plain: list[Any] = []
        parts: list[Operation] = []
        while not self._skip(")"):
            if kind == "batch":
                parts.append(self.operation(inside=True))
            elif self._peek(1) == "=":
                field = self._peek()
                self._next += 2
                if field in values:
                    raise ValueError(f"{field} of {kind} stands twice; give it once")
                values[field] = self._value()
            else:
                plain.append(self._value())
            if not self._skip(",") and self._peek() != ")":
                raise self._instead(", or )")
        if kind == "batch":
            return Batch(ops=tuple(parts))  # type: ignore[arg-type]  # `program` refuses what a batch does not hold
        return _operation(kind, {**values, **_positional(kind, plain)})

    def _value(self) -> int | float | str:
        """A number, a word or a quoted string."""
        kind, shown = self._items[self._next] if self.left() else ("mark", "")
        if kind == "mark":
            raise self._instead("a value")
        self._next += 1
        if kind == "word":
            return shown
        value: int | float | str = json.loads(shown) if kind == "string" else _number(shown)
        return value


def _operation(kind: str, values: Mapping[str, Any]) -> Operation:
    if lacks := missing_fields(kind, values):
        raise ValueError(f"{needs(kind, lacks)}: {operation(kind, {**values, **lacks})}")  # unknown fields come first
    return operation(kind, values)


def _number(shown: str) -> int | float:
    return int(shown) if shown.lstrip("-").isdigit() else float(shown)


def _positional(kind: str, plain: Sequence[Any]) -> dict[str, Any]:
    """What values without a name mean: the requests of a wait, else the peer."""
    if kind in ("wait", "waitall"):
        return {"requests": list(plain)}
    if len(plain) > 1:
        field = "request" if kind.startswith("i") else "tag"
        raise ValueError(f"{plain[1]!r} of {kind} has no name; write {field}={plain[1]} or the like")
    return {"peer": plain[0]} if plain else {}
