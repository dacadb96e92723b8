"""The serving loop on a grid: P stages of T ranks each, which share their stage (tensor parallelism).

Column t holds the t-th rank of every stage and runs `serving_loop` among its own; global rank = stage * T + column.
Inside a stage, collectives tie the columns together: rank 0 takes what arrived and shares it, a stage gathers the
slices of a proxy that its columns received, adds up inside its forward, and the last agrees on the output.

So the columns are not independent, and that each of them finishes does not say that the grid does: a column whose
isend blocks holds up a collective that another column's receive waits for. Hence the grid is one program. A
collective returns on no rank before every rank of its stage has come, and that is what it is lowered to, in
operations that cannot deadlock by themselves under any semantics: the others send to the stage's first rank and then
receive from it. Those of one forward follow each other with nothing between, so one stands for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from model.pipelines.serving import CONTROL, DATA, Loop, Phase, Step, serving_loop, unroll_rank
from model.program.checked import Program, program
from model.program.ops import Batch, Isend, Operation, Recv, Send
from model.rings.orderings import Ordering

STAGE_CONTROL = "stage control"
"""Communicator of a stage's hosts: what arrived."""

STAGE_DATA = "stage data"
"""Communicator of a stage's devices: collectives of the forward."""

STAGE_LIBRARY = {STAGE_CONTROL: CONTROL, STAGE_DATA: DATA}
"""A stage's communicators, and those by whose library they are judged. It matters little: what a collective is lowered
to ends under any."""


def grid_loop(*, rank: int, stages: int, tp: int, depth: int, ordering: Ordering) -> Loop:
    """The loop of global rank `rank`; with one column it is `serving_loop`. Peers are global ranks.

    A step that is or ends in a collective carries its operations as `collective`. Raises ValueError (at the first
    step) unless tp >= 1 and rank, stages and depth suit each other.
    """
    if tp < 1:
        raise ValueError(f"tp is {tp}; give 1 or more")
    stage, column = divmod(rank, tp)
    loop = serving_loop(rank=stage, ranks=stages, depth=depth, ordering=ordering)
    answer: bool | None = None
    while True:
        try:
            step = loop.send(answer)
        except StopIteration:
            return
        if tp == 1:
            answer = yield step
            continue
        step = _in_column(step, column, tp)
        gathered = gather_and_broadcast(stage, column, tp, STAGE_DATA)
        match step.phase:
            case Phase.POLL:
                collective = broadcast(stage, column, tp, STAGE_CONTROL)
                if column == 0:
                    answer = yield step
                    yield replace(step, phase=Phase.SHARE_REQUESTS, collective=collective)
                else:
                    answer = yield replace(step, phase=Phase.TAKE_REQUESTS, collective=collective)
            case Phase.RECV_PROXY:
                answer = yield step
                yield Step(phase=Phase.GATHER_PROXY, slot=step.slot, collective=gathered)
            case Phase.LAUNCH:
                answer = yield replace(step, collective=gathered)
                if stage == stages - 1:
                    collective = broadcast(stage, column, tp, STAGE_DATA)
                    yield Step(phase=Phase.AGREE_OUTPUT, slot=step.slot, collective=collective)
            case _:
                answer = yield step


def gather_and_broadcast(stage: int, column: int, tp: int, comm: str) -> tuple[Operation, ...]:
    """A collective that every rank of a stage both gives to and takes from, as one of its ranks does it."""
    first, others = stage * tp, range(stage * tp + 1, (stage + 1) * tp)
    if column > 0:
        return (Send(peer=first, comm=comm), Recv(peer=first, comm=comm))
    return (*(Recv(peer=peer, comm=comm) for peer in others), *(Send(peer=peer, comm=comm) for peer in others))


def broadcast(stage: int, column: int, tp: int, comm: str) -> tuple[Operation, ...]:
    """The stage's first rank tells the others something."""
    first, others = stage * tp, range(stage * tp + 1, (stage + 1) * tp)
    if column > 0:
        return (Recv(peer=first, comm=comm),)
    return tuple(Send(peer=peer, comm=comm) for peer in others)


def unroll_grid(
    *,
    stages: int,
    tp: int,
    depth: int,
    ordering: Ordering,
    present: Sequence[bool],
    nbytes: int = 1,
    seconds: float = 0.0,
) -> Program:
    """The loops of the whole grid as one program of stages * tp ranks; the rest as in `serving.unroll`."""
    return program(
        unroll_rank(
            grid_loop(rank=rank, stages=stages, tp=tp, depth=depth, ordering=ordering), present, nbytes, seconds
        )
        for rank in range(stages * tp)
    )


def _in_column(step: Step, column: int, tp: int) -> Step:
    """The step of a loop of its own as one of its column's: peers by their global ranks."""

    match step.op:
        case Batch() as batch:
            ops = tuple(replace(part, peer=part.peer * tp + column) for part in batch.ops)
            return replace(step, op=replace(batch, ops=ops))
        case Isend() | Recv() as op:
            return replace(step, op=replace(op, peer=op.peer * tp + column))
        case _:
            return step
