"""One table, three ways to print it: for a terminal, for the README, for the paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tabulate import tabulate


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A header and rows of cells. Integers stand to the right."""

    header: tuple[str, ...]
    rows: Sequence[tuple[str | int, ...]]

    def text(self) -> str:
        """Aligned columns, for a terminal."""
        return self._formatted("simple")

    def markdown(self) -> str:
        """A table of GitHub's Markdown, its cells not padded: a longer cell then changes one line of the README."""
        rule = ("--:" if self._right(column) else "---" for column in range(len(self.header)))
        rows = [self.header, tuple(rule), *(tuple(str(cell).replace("|", r"\|") for cell in row) for row in self.rows)]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def latex(self) -> str:
        """A tabular with the rules of booktabs."""
        return self._formatted("latex_booktabs")

    def _formatted(self, style: str) -> str:
        sides = ["right" if self._right(column) else "left" for column in range(len(self.header))]
        return tabulate(self.rows, headers=self.header, tablefmt=style, colalign=sides, disable_numparse=True)

    def _right(self, column: int) -> bool:
        return bool(self.rows) and all(isinstance(row[column], int) for row in self.rows)


_SPECIAL = str.maketrans(
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {character: f"\\{character}" for character in "&%$#_{}"}
)


def escaped(text: str) -> str:
    """A text as LaTeX prints it literally, where it stands in no table."""
    return text.translate(_SPECIAL)
