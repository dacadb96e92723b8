"""Tables for a terminal.

In the format that `tabulate` calls simple. By hand, as its import takes a third of the time of a short command.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from numbers import Real
from unicodedata import east_asian_width

_WHOLE = re.compile(r"-?[0-9]+")
_POINT = re.compile(r"\.|e")


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows under their headers. Columns of numbers are aligned at the point, all others to the left."""
    columns = [_column(header, [row[at] for row in rows]) for at, header in enumerate(headers)]
    dashes = "  ".join("-" * _width(column[0]) for column in columns)
    first, *rest = ("  ".join(cells).rstrip() for cells in zip(*columns, strict=True))
    return "\n".join([first, dashes, *rest])


def _column(header: str, cells: Sequence[object]) -> list[str]:
    """The header and the cells in one width."""
    numbers = any(cell is not None for cell in cells) and all(cell is None or _is_number(cell) for cell in cells)
    texts = _at_the_point(cells) if numbers else list(map(_text, cells))
    width = max([_width(header) + 2, *map(_width, texts)])
    blanks = [" " * (width - _width(text)) for text in (header, *texts)]
    return [blank + text if numbers else text + blank for blank, text in zip(blanks, (header, *texts), strict=True)]


def _is_number(cell: object) -> bool:
    """Whether it is a number, or the text of a whole one."""
    return (
        bool(_WHOLE.fullmatch(cell)) if isinstance(cell, str) else isinstance(cell, Real) and not isinstance(cell, bool)
    )


def _text(cell: object) -> str:
    return "" if cell is None else f"{cell:g}" if isinstance(cell, float) else str(cell)


def _at_the_point(cells: Sequence[object]) -> list[str]:
    """Numbers as texts, with blanks for the digits after the point that others have and they have not."""
    texts = list(map(_text, cells))
    points = [_POINT.search(text) for text in texts]
    after = [len(text) - point.start() if point else 0 for text, point in zip(texts, points, strict=True)]
    return [text + " " * (max(after) - digits) for text, digits in zip(texts, after, strict=True)]


def _width(text: str) -> int:
    """Columns of a terminal that a text takes."""
    return len(text) if text.isascii() else sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)
