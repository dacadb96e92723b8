"""`python -m model names`: everything that has a name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from model.cli.output import show
from model.rings import orderings
from model.rings import ring as programs
from model.semantics.libraries import NAMED
from model.verdict.tables import table


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The named programs, orderings and semantics."""

    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        named = {
            "programs": {name: (function.__doc__ or "").split("\n")[0] for name, function in programs.NAMED.items()},
            "orderings": {name: policy.description for name, policy in orderings.NAMED.items()},
            "semantics": {name: rules.source for name, rules in NAMED.items()},
        }
        show(self.json, named, lambda: names_lines(named))
        return 0


def names_lines(named: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Every registry as a table."""
    for title, entries in named.items():
        yield table([title, ""], list(entries.items()))
        yield ""
