"""`python -m model space` and `names`: every ordering of a ring step, and everything that has a name."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING

from model.entry.output import progress_bar, show

if TYPE_CHECKING:
    pass

MIN_WIDTH = 60
"""Letters of a line, however narrow the terminal is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """All 2^P orderings of one ring step under rendezvous: how many deadlock, how long the others take."""

    ranks: int
    """P, 2 to 28."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        from model.rings.order_space import space

        with progress_bar("orderings", total=2 ** min(self.ranks, 64) if self.ranks > 0 else None) as progress:
            result = space(self.ranks, progress=progress)
        show(self.json, result.to_json(), lambda: [str(result)])
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The named programs, orderings and semantics."""

    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        from model.cli import arguments
        from model.rings import orderings
        from model.semantics import libraries

        named = {
            "programs": {name: (function.__doc__ or "").split("\n")[0] for name, function in arguments.NAMED.items()},
            "orderings": {name: policy.description for name, policy in orderings.NAMED.items()},
            "semantics": {name: library.source for name, library in libraries.NAMED.items()},
        }
        show(self.json, named, lambda: names_lines(named))
        return 0


def names_lines(named: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Every registry, no wider than the terminal; `display.text.table` does not wrap lines."""
    columns = max(MIN_WIDTH, shutil.get_terminal_size().columns)
    for title, entries in named.items():
        wide = max(map(len, entries)) + 4
        yield title
        for name, about in entries.items():
            yield fill(about, columns, initial_indent=f"  {name}".ljust(wide), subsequent_indent=" " * wide)
        yield ""
