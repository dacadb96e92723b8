"""Did each rank do what a rank does: one thing after the other and, step by step, what the serving loop does?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from model.pipelines.serving import Loop, Phase, Step
from model.pipelines.tensor_parallel import grid_loop
from model.program.checked import parts
from model.program.json_form import to_json
from model.program.ops import Operation
from model.rings.orderings import output_policy
from model.traces.trace import Trace, TraceEvent
from model.traces.violation import Violations, duration, violation_at

POLLS = (Phase.POLL, Phase.RECV_REQUESTS, Phase.TAKE_REQUESTS)
"""Each begins an iteration, and is answered with whether to go on."""


def order_violations(events: Sequence[Sequence[TraceEvent]]) -> Violations:
    """A rank does one thing after the other; only its last may be under way."""
    for mine in events:
        over: int | None = 0
        for number, event in enumerate(mine):
            if over is None:
                yield event.begin, violation_at(event, number, "the step before it was not over")
                break
            if event.begin < over:
                yield (
                    event.begin,
                    violation_at(event, number, f"it began {duration(over - event.begin)} before the last ended"),
                )
                break
            if event.end is not None and event.end < event.begin:
                yield event.begin, violation_at(event, number, "it ended before it began")
                break
            over = event.end


def loop_violations(trace: Trace, events: Sequence[Sequence[TraceEvent]]) -> Violations:
    """What the serving loop, told the recorded answers, would not have done; and batches that ranks formed apart."""
    if trace.loop is None:
        return
    stages, tp = trace.ranks // trace.loop.tp, trace.loop.tp
    if stages * tp != trace.ranks:
        raise ValueError(f"{trace.ranks} ranks are no whole number of stages of {tp}; correct tp or ranks")
    policy = output_policy(trace.loop.ordering, stages)
    decided: dict[tuple[str, int], bool] = {}
    for rank, mine in enumerate(events):
        loop = grid_loop(rank=rank, stages=stages, tp=tp, depth=trace.loop.depth, ordering=policy)
        answer: bool | None = None
        iteration = -1
        for number, event in enumerate(mine):
            step = _next_step(loop, answer)
            if step is None:
                yield event.begin, violation_at(event, number, "the loop had come to its end")
                break
            polls = step.phase in POLLS
            iteration += polls
            if not _matches(step, iteration, event):
                ops = [str(op) for op in ((step.op,) if step.op else ()) + step.collective]
                does = ", ".join([str(step.phase), *ops])
                why = f"the loop does here, in iteration {iteration}: {does}, slot {step.slot}"
                yield event.begin, violation_at(event, number, why)
                break
            answer = event.answer
            asks = "go on" if polls else "form a batch" if step.phase is Phase.FORM else ""
            if asks and answer is None and event.end is not None:
                yield event.begin, violation_at(event, number, f"the trace does not say whether to {asks}")
                break
            if asks and answer is not None and decided.setdefault((asks, iteration), answer) is not answer:
                why = f"it is to {asks}" if answer else f"it is not to {asks}"
                yield event.begin, violation_at(event, number, f"{why}, unlike a rank before it")
                break
        else:
            if trace.complete and _next_step(loop, answer) is not None:
                where = mine[-1] if mine else TraceEvent(rank=rank, begin=0, end=0)
                why = "the trace ends here, and the loop does not"
                yield where.begin, violation_at(where, max(0, len(mine) - 1), why)


def _next_step(loop: Loop, answer: bool | None) -> Step | None:
    try:
        return loop.send(answer)
    except StopIteration:
        return None


def _matches(step: Step, iteration: int, event: TraceEvent) -> bool:
    loops, ours = (step.phase, step.slot, iteration), (event.phase, event.slot, event.iteration)
    return loops == ours and _without_sizes(step.op) == _without_sizes(event.op) and step.collective == event.collective


@lru_cache(maxsize=4096)
def _without_sizes(op: Operation | None) -> list[dict[str, Any]]:
    """An operation without its bytes and seconds, which are the run's own."""
    forms = [] if op is None else [{"op": op.kind}, *map(to_json, parts(op))]
    return [{key: value for key, value in form.items() if key not in ("nbytes", "seconds")} for form in forms]
