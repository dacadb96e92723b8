"""Is a recorded run one that the model allows?

Two questions. Did each rank do what the serving loop does, given the answers that the loop got? And is there a run of
all ranks together, under the declared semantics, that puts every event within the times that were recorded?

The second is answered by the event graph. A call that was recorded from b to e posts its message, and passes, at some
time from b to e; so each event has an earliest and a latest time. The least times that respect the earliest ones and
every arc are longest paths, and a run exists iff none of them is later than the latest time of its event.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import chain
from typing import Any

from model.display import html
from model.display.shown import Shown
from model.program.checked import program
from model.semantics.libraries import semantics
from model.semantics.parameters import EVERY_COMM, SemanticsByComm
from model.traces.feasible_run import timing_violations
from model.traces.protocol import loop_violations, order_violations
from model.traces.trace import Trace
from model.traces.violation import Violation, Violations
from model.verdict.arguments import communicators
from model.verdict.decide import check
from model.verdict.result import Result
from model.verdict.views.html import result_parts
from model.verdict.views.tables import waits_lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Conformance(Shown):
    """The answer. violation: None where the run is allowed.

    complete: every rank came to its end; otherwise the trace is allowed as the beginning of a run. deadlock: the
    model's result where the beginning cannot go on for ever, as ranks wait for each other in a circuit. unobserved:
    communicators whose completions the trace cannot show; times of different clocks are not compared.
    """

    ranks: int
    steps: int
    iterations: int
    complete: bool
    violation: Violation | None = None
    deadlock: Result | None = None
    unobserved: tuple[str, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the model allows the run."""
        return self.violation is None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "allowed": self.allowed,
            **asdict(replace(self, deadlock=None)),
            "deadlock": None if self.deadlock is None else self.deadlock.to_json(),
        }

    def _sentences(self) -> Iterator[str]:
        size = f"{self.steps} steps of {self.ranks} ranks in {self.iterations} iterations"
        if self.violation is not None:
            yield f"not allowed: {self.violation}"
            yield f"the first of {size} that no run of the model explains"
        elif self.complete:
            yield f"allowed: {size}, from the start to the end"
        else:
            yield f"allowed, as the beginning of a run: {size}"
        if self.unobserved:
            comms = ", ".join(self.unobserved)
            yield f"calls on {comms} return when queued: checked is their order, and not when they complete"
        if self.deadlock is not None:
            yield f"it ends in a {self.deadlock.verdict}"

    def _lines(self) -> Iterator[str]:
        yield from self._sentences()
        if self.deadlock is not None:
            yield ""
            yield from waits_lines(self.deadlock)

    def _parts(self) -> Iterator[str]:
        yield from map(html.paragraph, self._sentences())
        if self.deadlock is not None:
            yield from result_parts(self.deadlock)

    def _table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        columns = tuple(item.name for item in fields(Violation))
        return columns, [] if self.violation is None else [tuple(getattr(self.violation, name) for name in columns)]


def conform(trace: Trace) -> Conformance:
    """Whether the model allows a recorded run.

    Raises ValueError where the trace says too little: an unknown library or ordering, a communicator without declared
    semantics, operations that are no program, a wildcard receive.
    """
    by_comm = {comm: semantics(name) for comm, name in trace.semantics.items()}
    events = trace.by_rank()
    by_themselves = chain(order_violations(events), loop_violations(trace, events))
    violation = _first(by_themselves) or _first(timing_violations(trace, events, by_comm))
    return Conformance(
        ranks=trace.ranks,
        steps=len(trace.events),
        iterations=max((event.iteration + 1 for event in trace.events), default=0),
        complete=trace.complete,
        violation=violation,
        deadlock=_deadlock(trace, by_comm) if violation is None and not trace.complete else None,
        unobserved=tuple(sorted(trace.queued)),
    )


def _deadlock(trace: Trace, by_comm: SemanticsByComm) -> Result | None:
    """The verdict on what a trace holds where its ranks wait for each other in a circuit."""
    lists = (
        [op for event in mine for op in ((event.op,) if event.op else ()) + event.collective]
        for mine in trace.by_rank()
    )
    begun = program(lists)
    used = {EVERY_COMM, *communicators(begun)}
    result = check(begun, {comm: rules for comm, rules in by_comm.items() if comm in used})
    closed = result.circuit and result.circuit[0].rank in result.circuit[-1].waits_for
    return result if result.hangs and closed else None


def _first(violations: Violations) -> Violation | None:
    return min(violations, key=lambda item: item[0], default=(0, None))[1]
