"""`python -m model names`: everything that has a name."""

from __future__ import annotations

from dataclasses import dataclass

from model.cli.output import show
from model.rings import orderings
from model.rings import ring as programs
from model.semantics.libraries import NAMED
from model.verdict import report


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The named programs, orderings and semantics."""

    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        named = {
            "programs": {name: (function.__doc__ or "").split("\n")[0] for name, function in programs.NAMED.items()},
            "orderings": {name: policy.about for name, policy in orderings.NAMED.items()},
            "semantics": {name: rules.source for name, rules in NAMED.items()},
        }
        show(self.json, named, lambda: report.names_lines(named))
        return 0
