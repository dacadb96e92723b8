"""Tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table as text; numbers are written as they are."""
    return str(tabulate(rows, headers=headers, tablefmt="simple"))
