"""The programs of torch's own pipeline schedules: its code runs on stages that note what they are asked to do.

Nothing is computed and nothing is sent: torch's step function (`_step_microbatches`, torch 2.13) drives stand-ins,
one rank after the other, and every operation that it would post becomes one of `model.program.ops`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

from torch.distributed.pipelining import schedules as torch_schedules

from experiments.sweeps.schedule_kinds import Kind
from model.pipelines.torch_schedules import SECONDS
from model.program.checked import Program, parts, program
from model.program.ops import Batch, Compute, Irecv, Isend, Operation, Recv, Send, Wait


class _Rank:
    """What one rank is asked to do."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.ops: list[Operation] = []

    def post(self, wanted: Sequence[Any], desc: str | None = None) -> list[_Work]:
        """In the place of torch's `_batch_p2p`, and like it: what goes both ways is one group."""
        if len({type(op) for op in wanted}) > 1:
            self.ops.append(Batch(ops=tuple(wanted)))  # each of torch's callers waits for a group at once
            return []
        self.ops += wanted
        return [_Work(self, op.request) for op in wanted]


@dataclass(frozen=True, slots=True)
class _Work:
    rank: _Rank
    request: str

    def wait(self) -> None:
        self.rank.ops.append(Wait(requests=(self.request,)))


class _Stage:
    """Stands in for a stage of the pipeline; the names are those that torch's schedules use."""

    submod = None

    def __init__(self, notes: _Rank, *, index: int, stages: int, rank: int, ranks: int) -> None:
        self.notes = notes
        self.stage_index, self.num_stages, self.group_rank, self.group_size = index, stages, rank, ranks
        self.is_first, self.is_last = index == 0, index == stages - 1
        self.stage_index_to_group_rank = {stage: stage % ranks for stage in range(stages)}

    def get_fwd_recv_ops(self, microbatch: int) -> list[Operation]:
        return self._recv("F", self.stage_index - 1, microbatch)

    def get_bwd_recv_ops(self, microbatch: int) -> list[Operation]:
        return self._recv("B", self.stage_index + 1, microbatch)

    def get_fwd_send_ops(self, microbatch: int) -> list[Operation]:
        return self._send("F", self.stage_index + 1, microbatch)

    def get_bwd_send_ops(self, microbatch: int) -> list[Operation]:
        return self._send("B", self.stage_index - 1, microbatch)

    def forward_one_chunk(self, microbatch: int, *_: Any, **__: Any) -> None:
        self._compute("F", microbatch)

    def backward_one_chunk(self, microbatch: int, *, full_backward: bool = True, **_: Any) -> None:
        self._compute("B" if full_backward else "I", microbatch)

    def backward_weight_one_chunk(self, microbatch: int, **_: Any) -> None:
        self._compute("W", microbatch)

    def set_local_fwd_input(self, *_: Any) -> None: ...

    def set_local_bwd_input(self, *_: Any) -> None: ...

    def get_local_bwd_output(self, microbatch: int) -> None: ...

    def perform_reduce_grad(self, *_: Any) -> None: ...

    def _compute(self, kind: str, microbatch: int) -> None:
        self.notes.ops.append(Compute(label=f"{self.stage_index}{kind}{microbatch}", seconds=SECONDS[kind]))

    def _send(self, what: str, to: int, microbatch: int) -> list[Operation]:
        if (peer := self._peer(to)) is None:
            return []
        request = f"{self.stage_index}SEND_{what}{microbatch}"
        return [Isend(peer=peer, nbytes=self.notes.nbytes, request=request)]

    def _recv(self, what: str, of: int, microbatch: int) -> list[Operation]:
        peer = self._peer(of)
        return [] if peer is None else [Irecv(peer=peer, request=f"{self.stage_index}RECV_{what}{microbatch}")]

    def _peer(self, stage: int) -> int | None:
        return self.stage_index_to_group_rank[stage] if 0 <= stage < self.num_stages else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedProgram:
    """program: what torch's step function posts. schedule: rank 0's torch object, for its plan."""

    program: Program
    schedule: Any


def posted_program(kind: Kind, *, ranks: int, microbatches: int, nbytes: int) -> PostedProgram:
    """Runs torch's schedule on every rank in turn. Raises ValueError on sizes that torch refuses."""
    notes = [_Rank(nbytes) for _ in range(ranks)]
    made = [_schedule(kind, rank, note, ranks=ranks, microbatches=microbatches) for rank, note in enumerate(notes)]
    for schedule, note in zip(made, notes, strict=True):
        with _posting_to(note):
            schedule._step_microbatches()
    return PostedProgram(program=program(note.ops for note in notes), schedule=made[0])


def dry_run(posted: PostedProgram) -> str:
    """What torch's own dry run (`_simulate_comms_compute`) says of the schedule's plan.

    ok; stuck; `not supported` where the plan overlaps computes; `malformed plan` where torch cannot place the
    messages in it, as in 2.13's plan of 1F1B, whose last rank begins with microbatch 1 (its step function does not).
    """
    plan = posted.schedule
    stages = plan._num_stages
    rank_of = {stage: stage for stage in range(stages)}
    if hasattr(plan, "pipeline_order_with_comms"):
        rank_of = plan.stage_index_to_group_rank
        rows = plan.pipeline_order_with_comms
    else:  # torch never lowers the plan of a schedule with one stage a rank
        computes = {rank: [action for action in row if action is not None] for rank, row in plan.pipeline_order.items()}
        try:
            rows = torch_schedules._add_send_recv(computes, stage_to_rank=rank_of.__getitem__, num_stages=stages)
        except AssertionError:
            return "malformed plan"
    if any(action.sub_actions for row in rows.values() for action in row):
        return "not supported"
    known = {
        rank: [action for action in row if action.computation_type.value in _DRY_RUN] for rank, row in rows.items()
    }
    try:
        with redirect_stdout(StringIO()):  # it prints where it is stuck
            torch_schedules._simulate_comms_compute(known, stage_to_rank=rank_of.__getitem__, num_stages=stages)
    except ValueError:
        return "stuck"
    return "ok"


def blocking(posted: Program) -> Program:
    """The same messages in the same order as blocking calls, which is how a library that serialises would do them."""
    return program([call for op in ops for part in parts(op) for call in _blocking(part)] for ops in posted)


def _blocking(op: Operation) -> Sequence[Operation]:
    if isinstance(op, Isend):
        return (Send(peer=op.peer, tag=op.tag, nbytes=op.nbytes, comm=op.comm),)
    if isinstance(op, Irecv):
        return (Recv(peer=op.peer, tag=op.tag, comm=op.comm),)
    return () if isinstance(op, Wait) else (op,)


_DRY_RUN = ("F", "I", "B", "W", "SEND_F", "RECV_F", "SEND_B", "RECV_B")


def _schedule(kind: Kind, rank: int, note: _Rank, *, ranks: int, microbatches: int) -> Any:
    indices = [rank, 2 * ranks - 1 - rank] if kind.fold else range(rank, ranks * kind.stages, ranks)
    stages: Any = [_Stage(note, index=index, stages=ranks * kind.stages, rank=rank, ranks=ranks) for index in indices]
    if (made := getattr(torch_schedules, kind.type, None)) is None:
        raise ValueError(f"this torch has no {kind.type}; install the version that constraints.txt pins")
    schedule = made(stages[0] if kind.stages == 1 else stages, microbatches)
    schedule._initialize_stage = schedule._initialize_stages = lambda *_: None  # shapes, and connections of real stages
    return schedule


@contextmanager
def _posting_to(note: _Rank) -> Iterator[None]:
    """torch's module posts to the notes of one rank."""
    original = torch_schedules._batch_p2p
    torch_schedules._batch_p2p = note.post  # type: ignore[assignment]
    try:
        yield
    finally:
        torch_schedules._batch_p2p = original
