"""Why did it hang? Every report of `reports`, explained by the model.

What decides is found, not told: one parameter of the library's semantics is changed at a time, and those under
which the program finishes are the ones that it hangs by.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, get_args

from model.program.json_form import program_json
from model.semantics.libraries import NAMED, semantics
from model.semantics.parameters import UNLIMITED, Connection, Grouping, Order, Progress, Returns, Semantics
from model.synthesis.cure import Cure, incurable, propose
from model.validation.reported_hangs import Report, Reported
from model.verdict.decide import check
from model.verdict.result import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """One parameter of the six with another value."""

    parameter: str
    before: str
    after: str
    semantics: Semantics

    def __str__(self) -> str:
        return f"{self.parameter}: {self.before} -> {self.after}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A report and what the model says of it.

    result: of its program under its library. hangs, finishes: the named libraries. deciding: the single changes
    of its library under which it finishes; none where it hangs whatever the library does. cures: each reported
    one with the verdict on it. proposal: the model's own; incurable: why no order of the messages is one.
    """

    report: Report
    result: Result
    hangs: tuple[str, ...]
    finishes: tuple[str, ...]
    deciding: tuple[Flip, ...]
    cures: tuple[tuple[Reported, str], ...]
    proposal: Cure | None
    incurable: str

    @property
    def agrees(self) -> bool:
        """Whether the model has the reported hang, on the reported ranks, and the same opinion of every cure."""
        seen = {item.rank for item in self.result.blocked}
        return (
            self.result.hangs
            and seen >= set(self.report.stuck)
            and all((verdict == "ok") == cure.works for cure, verdict in self.cures)
        )

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the deciding parameters."""
        return tuple(dict.fromkeys(flip.parameter for flip in self.deciding))

    def to_json(self) -> dict[str, Any]:
        report = self.report
        return {
            "report": report.name,
            "reported": report.reported,
            "library": report.library,
            **program_json(report.program),
            "verdict": self.result.verdict,
            "circuit": [[item.rank, item.op] for item in self.result.circuit],
            "hangs_under": list(self.hangs),
            "finishes_under": list(self.finishes),
            "deciding": [[flip.parameter, flip.before, flip.after] for flip in self.deciding],
            "cures": [
                {
                    "cure": cure.what,
                    "library": cure.library or report.library,
                    "reported_to_work": cure.works,
                    "verdict": verdict,
                    **program_json(cure.program),
                }
                for cure, verdict in self.cures
            ],
            "proposal": self.proposal.to_json() if self.proposal else None,
            "incurable": self.incurable or None,
            "unexplained": report.unexplained or None,
            "agrees": self.agrees,
        }


def explain(report: Report) -> Explanation:
    """Runs a report under every library, every single change of its own, and with every cure."""
    given, library = report.program, semantics(report.library)
    result = check(given, library)
    libraries: Mapping[str, Semantics] = {library.name: library, **NAMED}
    verdicts = {name: check(given, rules) for name, rules in libraries.items()}
    proposal = propose(given, library, result)
    return Explanation(
        report=report,
        result=result,
        hangs=tuple(name for name, found in verdicts.items() if found.hangs),
        finishes=tuple(name for name, found in verdicts.items() if not found.hangs),
        deciding=tuple(flip for flip in flips(library) if not check(given, flip.semantics).hangs),
        cures=tuple(
            (cure, check(cure.program, semantics(cure.library or report.library)).verdict) for cure in report.cures
        ),
        proposal=proposal,
        incurable="" if proposal else incurable(given),
    )


_CHOICES: Mapping[str, object] = {
    "isend_returns": Returns,
    "progress": Progress,
    "order": Order,
    "connection": Connection,
    "batch": Grouping,
}
_SIZES = ("eager_limit", "capacity", "fifo")


def flips(library: Semantics) -> Iterator[Flip]:
    """The library with one of its six parameters changed, every other value of each; buffering to none or all."""
    assert {*_CHOICES, *_SIZES} <= {field.name for field in fields(Semantics)}
    for parameter, values in _CHOICES.items():
        before = getattr(library, parameter)
        for value in get_args(values):
            if value != before:
                changed = replace(library, name=f"{library.name}, {parameter} {value}", **{parameter: value})
                yield Flip(parameter=parameter, before=before, after=value, semantics=changed)
    sizes = {name: getattr(library, name) for name in _SIZES}
    before = ", ".join(f"{name} {size}" for name, size in sizes.items() if size) or "none"
    if library.buffers:
        yield Flip(parameter="buffering", before=before, after="none", semantics=library.unbuffered())
    if UNLIMITED not in sizes.values():
        all_of_it = replace(library, name=f"{library.name}, unlimited buffering", eager_limit=UNLIMITED)
        yield Flip(parameter="buffering", before=before, after="unlimited", semantics=all_of_it)
