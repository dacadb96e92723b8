"""One table, three ways to print it: for a terminal, for the README, for the paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A header and rows of cells. Integers stand to the right."""

    header: tuple[str, ...]
    rows: Sequence[tuple[str | int, ...]]

    def text(self) -> str:
        """Aligned columns, for a terminal."""
        cells = [self.header, *(tuple(map(str, row)) for row in self.rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(self.header))]
        lines = [
            "  ".join(
                cell.rjust(width) if self._right(column) else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        lines.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join(lines)

    def markdown(self) -> str:
        """A table of GitHub's Markdown."""
        rule = ("--:" if self._right(column) else "---" for column in range(len(self.header)))
        rows = [self.header, tuple(rule), *(tuple(str(cell).replace("|", r"\|") for cell in row) for row in self.rows)]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def latex(self) -> str:
        """A tabular with the rules of booktabs."""
        columns = "".join("r" if self._right(column) else "l" for column in range(len(self.header)))
        rows = [" & ".join(escaped(cell) for cell in row) + r" \\" for row in self.rows]
        head = " & ".join(escaped(cell) for cell in self.header) + r" \\"
        return "\n".join(
            [
                rf"\begin{{tabular}}{{{columns}}}",
                r"\toprule",
                head,
                r"\midrule",
                *rows,
                r"\bottomrule",
                r"\end{tabular}",
            ]
        )

    def _right(self, column: int) -> bool:
        return bool(self.rows) and all(isinstance(row[column], int) for row in self.rows)


_SPECIAL = str.maketrans(
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {character: f"\\{character}" for character in "&%$#_{}"}
)


def escaped(cell: str | int) -> str:
    """A cell as LaTeX prints it literally."""
    return str(cell).translate(_SPECIAL)
