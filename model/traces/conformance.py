"""Is a recorded run one that the model allows?

Two questions. Did each rank do what the serving loop does, given the answers that the loop got? And is there a run of
all ranks together, under the declared semantics, that puts every event within the times that were recorded?

The second is answered by the event graph. A call that was recorded from b to e posts its message, and passes, at some
time from b to e; so each event has an earliest and a latest time. The least times that respect the earliest ones and
every arc are longest paths, and a run exists iff none of them is later than the latest time of its event.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

from model.pipelines.serving import Loop, Phase, Step
from model.pipelines.tensor_parallel import grid_loop
from model.program.json_form import text, to_json
from model.program.ops import Operation, parts, program
from model.rings.orderings import output_policy
from model.semantics.libraries import semantics
from model.traces.feasible_run import Found, Violation, span, together, violation
from model.traces.jsonl import Record, Trace
from model.verdict.decide import Result, check

POLLS = (Phase.POLL, Phase.RECV_REQUESTS, Phase.TAKE_REQUESTS)
"""Each begins an iteration, and is answered with whether to go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conformance:
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
            **asdict(self),
            "deadlock": None if self.deadlock is None else self.deadlock.to_json(),
        }


def conform(trace: Trace) -> Conformance:
    """Whether the model allows a recorded run.

    Raises ValueError where the trace says too little: an unknown library or ordering, a communicator without declared
    semantics, operations that are no program, a wildcard receive.
    """
    world = {comm: semantics(name) for comm, name in trace.semantics.items()}
    records = trace.by_rank()
    found = _first(chain(_order(records), _steps(trace, records))) or _first(together(trace, records, world))
    deadlock = None
    if found is None and not trace.complete:
        made = ([op for item in mine for op in ((item.op,) if item.op else ()) + item.shared] for mine in records)
        result = check(program(made), world)
        closed = result.circuit and result.circuit[0].rank in result.circuit[-1].waits_for
        deadlock = result if result.hangs and closed else None
    return Conformance(
        ranks=trace.ranks,
        steps=len(trace.records),
        iterations=max((record.iteration + 1 for record in trace.records), default=0),
        complete=trace.complete,
        violation=found,
        deadlock=deadlock,
        unobserved=tuple(sorted(trace.queued)),
    )


def _first(found: Found) -> Violation | None:
    return min(found, key=lambda item: item[0], default=(0, None))[1]


def _order(records: Sequence[Sequence[Record]]) -> Found:
    """A rank does one thing after the other; only its last may be under way."""
    for mine in records:
        over: int | None = 0
        for at, record in enumerate(mine):
            if over is None:
                yield record.begin, violation(record, at, "the step before it was not over")
                break
            if record.begin < over:
                yield record.begin, violation(record, at, f"it began {span(over - record.begin)} before the last ended")
                break
            if record.end is not None and record.end < record.begin:
                yield record.begin, violation(record, at, "it ended before it began")
                break
            over = record.end


def _steps(trace: Trace, records: Sequence[Sequence[Record]]) -> Found:
    """What the serving loop, told the recorded answers, would not have done; and batches that ranks formed apart."""
    if trace.loop is None:
        return
    stages, tp = trace.ranks // trace.loop.tp, trace.loop.tp
    if stages * tp != trace.ranks:
        raise ValueError(f"{trace.ranks} ranks are no whole number of stages of {tp}; correct tp or ranks")
    policy = output_policy(trace.loop.ordering, stages)
    decided: dict[tuple[str, int], bool] = {}
    for rank, mine in enumerate(records):
        loop = grid_loop(rank=rank, stages=stages, tp=tp, depth=trace.loop.depth, ordering=policy)
        answer: bool | None = None
        iteration = -1
        for at, record in enumerate(mine):
            step = _told(loop, answer)
            if step is None:
                yield record.begin, violation(record, at, "the loop had come to its end")
                break
            polls = step.phase in POLLS
            iteration += polls
            if not _same(step, iteration, record):
                ops = [text(op) for op in ((step.op,) if step.op else ()) + step.shared]
                does = ", ".join([str(step.phase), *ops])
                why = f"the loop does here, in iteration {iteration}: {does}, slot {step.slot}"
                yield record.begin, violation(record, at, why)
                break
            answer = record.answer
            asks = "go on" if polls else "form a batch" if step.phase is Phase.FORM else ""
            if asks and answer is None and record.end is not None:
                yield record.begin, violation(record, at, f"the record does not say whether to {asks}")
                break
            if asks and answer is not None and decided.setdefault((asks, iteration), answer) is not answer:
                why = f"it is to {asks}" if answer else f"it is not to {asks}"
                yield record.begin, violation(record, at, f"{why}, unlike a rank before it")
                break
        else:
            if trace.complete and _told(loop, answer) is not None:
                where = mine[-1] if mine else Record(rank=rank, begin=0, end=0)
                why = "the record ends here, and the loop does not"
                yield where.begin, violation(where, max(0, len(mine) - 1), why)


def _told(loop: Loop, answer: bool | None) -> Step | None:
    try:
        return loop.send(answer)
    except StopIteration:
        return None


def _same(step: Step, iteration: int, record: Record) -> bool:
    loops, ours = (step.phase, step.slot, iteration), (record.phase, record.slot, record.iteration)
    return loops == ours and _bare(step.op) == _bare(record.op) and step.shared == record.shared


@lru_cache(maxsize=4096)
def _bare(op: Operation | None) -> list[dict[str, Any]]:
    """An operation without its bytes and seconds, which are the run's own."""
    found = [] if op is None else [{"op": op.kind}, *map(to_json, parts(op))]
    return [{key: value for key, value in item.items() if key not in ("nbytes", "seconds")} for item in found]
