"""Why did it hang? Every hang of `reported_hangs`, explained by the model.

What decides is found, not told: one parameter of the library's semantics is changed at a time, and those under
which the program finishes are the ones that it hangs by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model.program.json_form import program_json
from model.semantics.libraries import NAMED, semantics
from model.semantics.parameters import Semantics
from model.synthesis.cure import Cure, propose, why_no_order
from model.validation.reported_hangs import ReportedCure, ReportedHang
from model.verdict.decide import check
from model.verdict.result import Result
from model.verdict.sensitivity import Variation, deciding


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A reported hang and what the model says of it.

    result: of its program under its library. hangs, finishes: the named libraries. deciding: the single changes
    of its library under which it finishes; none where it hangs whatever the library does. cures: each reported
    one with the verdict on it. proposal: the model's own; why_no_order: why no order of the messages is one.
    """

    hang: ReportedHang
    result: Result
    hangs: tuple[str, ...]
    finishes: tuple[str, ...]
    deciding: tuple[Variation, ...]
    cures: tuple[tuple[ReportedCure, str], ...]
    proposal: Cure | None
    why_no_order: str

    @property
    def agrees(self) -> bool:
        """Whether the model has the reported hang, on the reported ranks, and the same opinion of every cure."""
        seen = {item.rank for item in self.result.blocked}
        return (
            self.result.hangs
            and seen >= set(self.hang.stuck)
            and all((verdict == "ok") == cure.works for cure, verdict in self.cures)
        )

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the deciding parameters."""
        return tuple(dict.fromkeys(variation.parameter for variation in self.deciding))

    def to_json(self) -> dict[str, Any]:
        hang = self.hang
        return {
            "report": hang.name,
            "reported": hang.reported,
            "library": hang.library,
            **program_json(hang.program),
            "verdict": self.result.verdict,
            "circuit": [[item.rank, item.op] for item in self.result.circuit],
            "hangs_under": list(self.hangs),
            "finishes_under": list(self.finishes),
            "deciding": [[item.parameter, item.before, item.after] for item in self.deciding],
            "cures": [
                {
                    "cure": cure.what,
                    "library": cure.library or hang.library,
                    "reported_to_work": cure.works,
                    "verdict": verdict,
                    **program_json(cure.program),
                }
                for cure, verdict in self.cures
            ],
            "proposal": self.proposal.to_json() if self.proposal else None,
            "why_no_order": self.why_no_order or None,
            "unexplained": hang.unexplained or None,
            "agrees": self.agrees,
        }


def explain(hang: ReportedHang) -> Explanation:
    """Runs a reported hang under every library, every single change of its own, and with every cure."""
    library = semantics(hang.library)
    result = check(hang.program, library)
    libraries: Mapping[str, Semantics] = {library.name: library, **NAMED}
    hangs = {name: check(hang.program, rules).hangs for name, rules in libraries.items()}
    proposal = propose(hang.program, library, result)
    return Explanation(
        hang=hang,
        result=result,
        hangs=tuple(name for name in libraries if hangs[name]),
        finishes=tuple(name for name in libraries if not hangs[name]),
        deciding=deciding(hang.program, library) if result.hangs else (),
        cures=tuple(
            (cure, check(cure.program, semantics(cure.library or hang.library)).verdict) for cure in hang.cures
        ),
        proposal=proposal,
        why_no_order="" if proposal else why_no_order(hang.program),
    )
