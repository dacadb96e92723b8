"""torch's own schedules: what its code posts, what the model says of it, and that both lowerings are one."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

import pytest

from experiments.sweeps import schedules
from experiments.sweeps.schedule_kinds import KINDS
from experiments.sweeps.torch_schedules import blocking, dry_run, posted_program
from model.pipelines.torch_schedules import from_torch, program_of
from model.program.ops import Batch, Compute, Irecv, Isend, Operation, Recv, Send, Wait
from model.semantics.libraries import semantics
from model.verdict.decide import check

LOOPED = [name for name, kind in KINDS.items() if kind.stages > 1]


def merged(ops: Iterable[Operation]) -> list[Operation | frozenset[str]]:
    """A rank's operations, waits that follow one another as one set of requests; and no compute."""
    found: list[Operation | frozenset[str]] = []
    for waits, group in groupby((op for op in ops if not isinstance(op, Compute)), lambda op: isinstance(op, Wait)):
        held = list(group)
        requests = {str(request) for op in held if isinstance(op, Wait) for request in op.requests}
        found += [frozenset(requests)] if waits else held
    return found


@pytest.mark.parametrize("name", LOOPED)
@pytest.mark.parametrize("ranks", [2, 3])
def test_what_torch_posts_is_what_its_plan_is_read_as(name: str, ranks: int) -> None:
    posted = posted_program(KINDS[name], ranks=ranks, microbatches=2 * ranks, nbytes=7)
    read = program_of(from_torch(posted.schedule), nbytes=7)
    assert [merged(ops) for ops in posted.program] == [merged(ops) for ops in read]
    assert any(isinstance(op, Irecv) for ops in read for op in ops)


def test_every_schedule_finishes_as_torch_posts_it_under_the_libraries_that_torch_runs_on() -> None:
    for kind in KINDS.values():
        posted = posted_program(kind, ranks=3, microbatches=3 * kind.stages, nbytes=2**23)
        for library in ("gloo", "nccl", "nccl-cold", "nccl-eager-init", "xccl", "xccl-group", "hccl"):
            assert check(posted.program, semantics(library)).verdict == "ok", (kind.name, library)


def test_the_groups_of_1f1b_are_what_keeps_it_from_hanging() -> None:
    posted = posted_program(KINDS["1f1b"], ranks=2, microbatches=3, nbytes=2**23)
    assert any(isinstance(op, Batch) for ops in posted.program for op in ops)
    apart = check(blocking(posted.program), semantics("rendezvous"))
    assert apart.verdict == "deadlock"
    assert {item.rank for item in apart.circuit} == {0, 1}
    assert all(item.op.startswith("send(") for item in apart.circuit)
    assert check(blocking(posted.program), semantics("eager")).verdict == "ok"


def test_blocking_calls_keep_every_message_in_its_place() -> None:
    posted = posted_program(KINDS["1f1b"], ranks=3, microbatches=4, nbytes=5)
    for before, after in zip(posted.program, blocking(posted.program), strict=True):
        flat = [part for op in before for part in (op.ops if isinstance(op, Batch) else (op,))]
        posted = [(type(op), op.peer) for op in flat if isinstance(op, Isend | Irecv)]
        called = [(Isend if isinstance(op, Send) else Irecv, op.peer) for op in after if isinstance(op, Send | Recv)]
        assert posted == called


def test_the_dry_run_of_torch_is_quoted_and_not_imitated() -> None:
    posted = posted_program(KINDS["looped-bfs"], ranks=2, microbatches=4, nbytes=1)
    assert dry_run(posted) == "ok"
    rows = posted.schedule.pipeline_order_with_comms
    rows[0] = [action for action in rows[0] if action.computation_type.value != "SEND_F"]
    assert dry_run(posted) == "stuck"
    assert dry_run(posted_program(KINDS["dualpipe-v"], ranks=2, microbatches=4, nbytes=1)) == "not supported"
    assert dry_run(posted_program(KINDS["1f1b"], ranks=2, microbatches=2, nbytes=1)) == "malformed plan"


def test_the_smallest_run_has_every_schedule_and_a_circuit_where_it_hangs() -> None:
    result = schedules.run(schedules.SMOKE)
    assert len(result["rows"]) == len(KINDS) * 2 * 2
    for row in result["rows"]:
        assert set(row["circuits"]) == {name for name, verdict in row["verdicts"].items() if verdict != "ok"}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (schedules.Config(schedules=("2f2b",)), "unknown schedules 2f2b; choose from gpipe"),
        (schedules.Config(ranks=(0,)), "each 1 or more"),
        (schedules.Config(semantics=("ncl",)), "unknown semantics 'ncl'"),
    ],
)
def test_bad_sizes_and_names(config: schedules.Config, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        schedules.run(config)
