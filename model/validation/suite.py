"""Suites of labelled cases: does the model agree with what others say of their programs?

The form: `{"cases": [{"name", "ranks", "buffering", "label", "expected", "programs"}, ...]}`. buffering `zero`:
every standard send is a rendezvous; `infinite`: every one is eager; `either`: an error in one of the two counts.
expected `error`: a deadlock, or a message or a receive that is left over; `ok`: neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from model.program.checked import program
from model.program.decoding import convert, decode
from model.program.json_form import from_json
from model.program.ops import Irecv, Isend, Operation, RequestId, Wait
from model.verdict.decide import check_contract
from model.verdict.result import Buffering

MODES: Mapping[Buffering, tuple[Buffering, ...]] = {
    "zero": ("zero",),
    "infinite": ("infinite",),
    "either": ("zero", "infinite"),
}

MAX_STATES = 1_000_000
"""Of one case."""


class _Suite(Struct, forbid_unknown_fields=True, kw_only=True):
    cases: list[Any]
    suite: Any = None
    source: Any = None
    meaning: Any = None


class _Case(Struct, forbid_unknown_fields=True, kw_only=True):
    expected: Literal["ok", "error"]
    buffering: Buffering
    programs: list[list[Any]]
    name: str = ""
    label: str = ""
    ranks: int | UnsetType = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the model found of one case. verdicts: by buffering. error: why it could not be decided."""

    number: int
    name: str
    expected: str
    found: str
    verdicts: Mapping[str, str]
    error: str = ""

    @property
    def agrees(self) -> bool:
        return not self.error and self.found == self.expected

    def to_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "name": self.name,
            "expected": self.expected,
            "found": self.found,
            "verdicts": dict(self.verdicts),
            "error": self.error or None,
        }


def load(path: Path) -> list[Any]:
    """The cases of a file, unread; ValueError where it is not a suite."""
    try:
        return decode(path.read_bytes(), _Suite).cases
    except (OSError, ValueError) as error:
        raise ValueError(
            f'{str(path)!r} is not a suite: {error}; give {{"cases": [{{"expected": "ok", "programs": [...]}}]}}'
        ) from None


def run(cases: list[Any], *, progress: Callable[[int], None] | None = None) -> Iterator[Outcome]:
    """The outcome of every case, in order; a case that cannot be read or decided is an outcome with an error."""
    for number, case in enumerate(cases):
        labels = case if isinstance(case, dict) else {}
        name, expected = str(labels.get("name", f"case {number}")), str(labels.get("expected"))
        try:
            verdicts = judge(case)
            found = "ok" if all(verdict == "ok" for verdict in verdicts.values()) else "error"
            yield Outcome(number=number, name=name, expected=expected, found=found, verdicts=verdicts)
        except (ValueError, RecursionError) as error:
            why = " ".join(str(error).split()) or type(error).__name__
            yield Outcome(number=number, name=name, expected=expected, found="undecided", verdicts={}, error=why)
        if progress is not None:
            progress(number + 1)


def judge(data: Any) -> dict[str, str]:
    """The verdict of one case under each buffering that it asks for; ValueError where it is malformed."""
    case = convert(data, _Case)
    if case.ranks not in (UNSET, len(case.programs)):
        raise ValueError(
            f"ranks is {case.ranks}, but there are {len(case.programs)} programs; give one list for each rank"
        )
    read = program(list(_handles(from_json(op) for op in ops)) for ops in case.programs)
    return {mode: check_contract(read, buffering=mode, max_states=MAX_STATES).verdict for mode in MODES[case.buffering]}


def _handles(ops: Iterator[Operation]) -> Iterator[Operation]:
    """Requests as MPI handles them: a new one may overwrite an open one, a wait for none returns at once."""
    live: dict[RequestId, RequestId] = {}
    for number, op in enumerate(ops):
        if isinstance(op, Isend | Irecv):
            live[op.request] = f"{op.request}.{number}"
            yield replace(op, request=live[op.request])
        elif isinstance(op, Wait):
            waited = tuple(live.pop(request) for request in dict.fromkeys(op.requests) if request in live)
            if waited:
                yield replace(op, requests=waited)
        else:
            yield op
