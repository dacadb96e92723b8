"""Suites of labelled cases: does the model agree with what others say of their programs?

The form: `{"cases": [{"name", "ranks", "buffering", "label", "expected", "programs"}, ...]}`. buffering `zero`:
every standard send is a rendezvous; `infinite`: every one is eager; `either`: an error in one of the two counts.
expected `error`: a deadlock, or a message or a receive that is left over; `ok`: neither.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from model.program.checked import Program, program
from model.program.json_form import from_json
from model.program.ops import Irecv, Isend, Operation, RequestId, Wait
from model.verdict.decide import check_contract
from model.verdict.result import Buffering

MODES: Mapping[str, tuple[Buffering, ...]] = {
    "zero": ("zero",),
    "infinite": ("infinite",),
    "either": ("zero", "infinite"),
}

MAX_STATES = 1_000_000
"""Of one case."""

_FIELDS = {"name": str, "ranks": int, "buffering": str, "label": str, "expected": str, "programs": list}
_ABOUT = {"suite", "source", "meaning", "cases"}


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
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} is not a suite: {error}") from None
    cases = data.get("cases") if isinstance(data, dict) else None
    if not isinstance(cases, list):
        raise ValueError(f'{str(path)!r} is not a suite; give {{"cases": [{{"expected": "ok", "programs": [...]}}]}}')
    if unknown := sorted(set(data) - _ABOUT):
        raise ValueError(f"{str(path)!r} has the unknown field {unknown[0]!r}; a suite has {', '.join(sorted(_ABOUT))}")
    return cases


def run(cases: list[Any], *, progress: Callable[[int], None] | None = None) -> Iterator[Outcome]:
    """The outcome of every case, in order; a case that cannot be read or decided is an outcome with an error."""
    for number, case in enumerate(cases):
        given = case if isinstance(case, dict) else {}
        name, expected = str(given.get("name", f"case {number}")), str(given.get("expected"))
        try:
            verdicts = judge(case)
            found = "ok" if all(verdict == "ok" for verdict in verdicts.values()) else "error"
            yield Outcome(number=number, name=name, expected=expected, found=found, verdicts=verdicts)
        except (ValueError, RecursionError) as error:
            why = " ".join(str(error).split()) or type(error).__name__
            yield Outcome(number=number, name=name, expected=expected, found="undecided", verdicts={}, error=why)
        if progress is not None:
            progress(number + 1)


def judge(case: Any) -> dict[str, str]:
    """The verdict of one case under each buffering that it asks for; ValueError where it is malformed."""
    if not isinstance(case, dict):
        raise ValueError(f"a case is an object, not {case!r:.60}; give it expected and programs")
    for key, value in case.items():
        if key not in _FIELDS:
            raise ValueError(f"unknown field {key!r} of a case; it has {', '.join(_FIELDS)}")
        if not isinstance(value, _FIELDS[key]) or isinstance(value, bool):
            raise ValueError(f"{key} of a case is {value!r:.60}; give a {_FIELDS[key].__name__}")
    for key in ("buffering", "expected", "programs"):
        if key not in case:
            raise ValueError(f"a case without {key}; add it")
    if case["expected"] not in ("ok", "error"):
        raise ValueError(f"expected is {case['expected']!r:.60}; give ok or error")
    if case["buffering"] not in MODES:
        raise ValueError(f"buffering is {case['buffering']!r:.60}; choose one of {', '.join(MODES)}")
    lists = case["programs"]
    if case.get("ranks", len(lists)) != len(lists):
        raise ValueError(f"ranks is {case['ranks']}, but there are {len(lists)} programs; give one list for each rank")
    given = _read(lists)
    return {
        mode: check_contract(given, buffering=mode, max_states=MAX_STATES).verdict for mode in MODES[case["buffering"]]
    }


def _read(lists: list[Any]) -> Program:
    ranks = []
    for rank, ops in enumerate(lists):
        if not isinstance(ops, list):
            raise ValueError(f"the program of rank {rank} is {ops!r:.60}; give a list of operations")
        ranks.append(list(_handles(from_json(op) for op in ops)))
    return program(ranks)


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
