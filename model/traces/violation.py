"""What in a recorded run the model does not explain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from model.traces.trace import TraceEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """The first thing that no run of the model explains: step `step` of a rank, what it was, and why not."""

    rank: int
    step: int
    iteration: int
    phase: str
    op: str
    why: str

    def __str__(self) -> str:
        what = ", ".join(filter(None, (self.phase, self.op)))
        return f"rank {self.rank}, step {self.step}, iteration {self.iteration}: {what}: {self.why}"


Violations = Iterator[tuple[int, Violation]]
"""Each with the time at which it is there to be seen."""


def violation_at(event: TraceEvent, step: int, why: str) -> Violation:
    """Of an event, which is step `step` of its rank."""
    op = "" if event.op is None else str(event.op)
    return Violation(
        rank=event.rank, step=step, iteration=event.iteration, phase=event.phase or "operation", op=op, why=why
    )


def duration(nanoseconds: int) -> str:
    """A duration for people."""
    return f"{nanoseconds / 1e3:.3f} us"
