"""`python -m model conform`: does the model allow a recorded run?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tyro

from model.cli.output import show
from model.traces.conformance import Conformance, conform
from model.traces.jsonl import FILE, read
from model.verdict import tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Conform:
    """Hold a recorded run against the model: 0 if the model allows it, 1 if not, 2 on bad usage.

    A run that was cut short, or that hung, is allowed as the beginning of one.
    """

    trace: tyro.conf.Positional[Path]
    """A trace in JSON lines, or the folder in which the engine recorded one (its `record`)."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        found = conform(read(located(self.trace)))
        show(self.json, found.to_json(), lambda: _lines(found))
        return 0 if found.allowed else 1


def located(path: Path) -> Path:
    """The trace of a folder, or the file itself."""
    return path / FILE if path.is_dir() else path


def _lines(found: Conformance) -> Iterator[str]:
    size = f"{found.steps} steps of {found.ranks} ranks in {found.iterations} iterations"
    if found.violation is not None:
        yield f"not allowed: {found.violation}"
        yield f"the first of {size} that no run of the model explains"
    elif found.complete:
        yield f"allowed: {size}, from the start to the end"
    else:
        yield f"allowed, as the beginning of a run: {size}"
    if found.unobserved:
        comms = ", ".join(found.unobserved)
        yield f"calls on {comms} return when queued: checked is their order, and not when they complete"
    if found.deadlock is not None:
        yield f"it ends in a {found.deadlock.verdict}"
        yield ""
        yield from tables.waits_lines(found.deadlock)
