"""Reads programs: the text of `model.program.json_form`, and files that hold it or JSON.

Arbitrary input gives a program or a ValueError of one line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from model.program.json_form import from_json, program_from_json, to_json
from model.program.ops import Operation, Program, program

_IS_TEXT = re.compile(rb"\s*(#|[0-9]+\s*:)")
_TOKEN = re.compile(
    r"""[ \t\r]+|\#[^\n]*|(?P<word>[A-Za-z_][A-Za-z0-9_-]*)|(?P<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)"""
    r"""|(?P<string>"(?:[^"\\\n]|\\.)*")|(?P<mark>[(),=;:\n])"""
)


def read(data: bytes) -> Program:
    """The program of a file's content, text or JSON. Raises ValueError on anything else, arbitrary bytes included.

    Text is what begins with a comment or with the number of a rank and a colon.
    """
    if _IS_TEXT.match(data):
        try:
            return parse_program(data.decode())
        except UnicodeDecodeError as error:
            raise ValueError(f"is not text in UTF-8: {error}") from None
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from None
    try:
        return program_from_json(parsed)
    except RecursionError:
        raise ValueError("is nested too deeply; a batch holds only isend and irecv") from None


def parse(line: str) -> Operation:
    """The operation of a text such as `isend(1, tag=2, request=a)`; ValueError on any other text."""
    tokens = _Tokens(line)
    op = tokens.operation()
    tokens.end()
    return op


def parse_program(content: str) -> Program:
    """The program of lines such as `0: send(1); recv(1)`, one a rank in order; `#` starts a comment."""
    lists: list[list[Operation]] = []
    for number, line in enumerate(content.split("\n"), start=1):
        try:
            tokens = _Tokens(line)
            if tokens.peek() == "":
                continue
            if tokens.take("number") != str(len(lists)) or not tokens.skip(":"):
                raise ValueError(f"rank {len(lists)} is expected; write {len(lists)}: send(1); recv(1)")
            ops: list[Operation] = []
            while tokens.peek():
                ops.append(tokens.operation())
                if not tokens.skip(";"):
                    break
            tokens.end()
            lists.append(ops)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    return program(lists)


class _Tokens:
    """A line as words, numbers, strings and marks; the grammar is in its methods."""

    def __init__(self, line: str) -> None:
        self._items: list[tuple[str, str]] = []
        self._next = 0
        at = 0
        while at < len(line):
            match = _TOKEN.match(line, at)
            if match is None:
                raise ValueError(f"{line[at : at + 20]!r} is no part of a program; write one like send(1, tag=2)")
            if match.lastgroup is not None:
                self._items.append((match.lastgroup, match[0]))
            at = match.end()

    def peek(self) -> str:
        """The next token, or nothing."""
        return self._items[self._next][1] if self._next < len(self._items) else ""

    def take(self, kind: str) -> str:
        """The next token, which must be of a kind."""
        if self._next == len(self._items) or self._items[self._next][0] != kind:
            raise ValueError(f"{self.peek() or 'the end'!r} stands where a {kind} is expected")
        self._next += 1
        return self._items[self._next - 1][1]

    def skip(self, mark: str) -> bool:
        """Whether the next token is this mark, which is then taken."""
        if self.peek() != mark:
            return False
        self._next += 1
        return True

    def end(self) -> None:
        """Raises ValueError unless everything is taken."""
        if self.peek():
            raise ValueError(f"{self.peek()!r} stands where the end is expected")

    def operation(self, *, inside: bool = False) -> Operation:
        """`name(...)`; inside a batch there is no further batch."""
        kind = self.take("word")
        if inside and kind == "batch":
            raise ValueError("a batch stands in a batch; it holds only isend and irecv")
        if not self.skip("("):
            raise ValueError(f"{self.peek() or 'the end'!r} stands where ( is expected after {kind}")
        given: dict[str, Any] = {"op": kind}
        plain: list[Any] = []
        while not self.skip(")"):
            if kind == "batch":
                plain.append(to_json(self.operation(inside=True)))
            elif self._next + 1 < len(self._items) and self._items[self._next + 1][1] == "=":
                field = self.take("word")
                self.skip("=")
                if field in given:
                    raise ValueError(f"{field} of {kind} stands twice; give it once")
                given[field] = self.value()
            else:
                plain.append(self.value())
            if not self.skip(",") and self.peek() != ")":
                raise ValueError(f"{self.peek() or 'the end'!r} stands where , or ) is expected")
        return from_json({**given, **_positional(kind, plain)})

    def value(self) -> int | float | str:
        """A number, a word or a quoted string."""
        if self._next == len(self._items):
            raise ValueError("the end stands where a value is expected")
        kind, shown = self._items[self._next]
        self._next += 1
        if kind == "word":
            return shown
        if kind == "mark":
            raise ValueError(f"{shown!r} stands where a value is expected")
        value: int | float | str = json.loads(shown) if kind == "string" else _number(shown)
        return value


def _number(shown: str) -> int | float:
    return int(shown) if shown.lstrip("-").isdigit() else float(shown)


def _positional(kind: str, plain: Sequence[Any]) -> dict[str, Any]:
    """What values without a name mean: the requests of a wait, the parts of a batch, else the peer."""
    if kind in ("wait", "waitall"):
        return {"requests": list(plain)}
    if kind == "batch":
        return {"ops": list(plain)}
    if len(plain) > 1:
        raise ValueError(f"{plain[1]!r} of {kind} has no name; write tag={plain[1]} or the like")
    return {"peer": plain[0]} if plain else {}
