"""Programs from files: text or JSON, whichever is there.

Arbitrary content gives a program or a ValueError of one line that says what was expected.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from model.program.checked import Program
from model.program.json_form import program_from_json
from model.program.text_form import EXAMPLE, parse_program

EXPECTED = (
    f"write one line a rank, such as {EXAMPLE} and then 1: recv(0); send(0), or JSON such as "
    '{"programs": [[{"op": "send", "peer": 1}], [{"op": "recv", "peer": 0}]]}'
)

_PYTHON = re.compile(r"""(?:\s|\#[^\n]*\n)*(?:(?:import|from|def|class|async|with|for|if|while|try)\b|@|\"{3}|'{3})""")
"""How a Python file begins."""


def load(path: Path) -> Program:
    """The program of a file. Raises ValueError where there is none, and on a folder."""
    if path.is_dir():
        raise ValueError(f"{str(path)!r} is a folder; name a file in it")
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        why = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"{str(path)!r} cannot be read: {why}; name a file of one line a rank") from None
    try:
        return read(content)
    except ValueError as error:
        raise ValueError(f"{str(path)!r}: {error}") from None


def read(content: bytes) -> Program:
    """The program of a file's content: JSON where it begins with a bracket, else text.

    UTF-8, and UTF-16 and UTF-32 where a byte-order mark or the zero bytes of its first letters tell them.
    """
    encoding = json.detect_encoding(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        raise ValueError(f"this is no text in {encoding.upper()}; {EXPECTED}") from None
    if not text.strip():
        raise ValueError(f"this is empty; {EXPECTED}")
    if text.lstrip()[0] in "[{":
        return program_from_json(_json(text))
    try:
        return parse_program(text)
    except ValueError as error:
        if _PYTHON.match(text):
            raise ValueError(f"this is a Python file; {EXPECTED}") from None
        raise error


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"begins as JSON and is not: {error}; {EXPECTED}") from None
