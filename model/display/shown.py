"""What every result can do: be printed, show itself in a notebook, and become a data frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from model.display import html
from model.display.frame import data_frame


class Shown:
    """A result that shows itself. A subclass says how: `_lines` for a terminal, `_table` for a table.

    In a notebook it shows its lines, unless the subclass has more to say by `_parts`.
    """

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        return html.page(self._parts())

    def to_frame(self) -> Any:
        """The rows of the result as a `pandas.DataFrame`. Raises ValueError where pandas is not installed."""
        columns, rows = self._table()
        return data_frame(columns, rows)

    def _lines(self) -> Iterator[str]:
        raise NotImplementedError

    def _parts(self) -> Iterator[str]:
        yield html.code(str(self))

    def _table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """The names of the columns, and the rows."""
        raise NotImplementedError
