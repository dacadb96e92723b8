"""The grid: one column is the plain loop, several are one program with the plain loop's verdicts."""

import pytest

from model import check
from model.pipelines.serving import CONTROL, DATA, unroll, unroll_rank
from model.pipelines.tensor_parallel import STAGE_LIBRARY, grid_loop, unroll_grid
from model.program.checked import program
from model.program.ops import Compute, Isend, Recv, Send
from model.rings.orderings import NAMED
from model.semantics.libraries import semantics
from model.verdict.arguments import of_its_communicators

LIBRARIES = (
    "rendezvous",
    "gloo",
    "eager",
    "bounded(1)",
    "xccl",
    "xccl-group",
    "nccl",
    "nccl-eager-init",
    "oneccl-group",
)


def full(stages: int, depth: int) -> list[bool]:
    return [True] * (3 * (stages + depth))


def verdict(program, data: str) -> str:
    world = {CONTROL: semantics("gloo"), DATA: semantics(data)}
    world |= {stage: world[comm] for stage, comm in STAGE_LIBRARY.items()}
    return check(program, of_its_communicators(program, world)).verdict


@pytest.mark.parametrize(("stages", "depth"), [(1, 0), (2, 1), (4, 0)])
def test_one_column_is_the_plain_loop(stages: int, depth: int) -> None:
    present = [True, False, True, True]
    for ordering in NAMED.values():
        given = {"depth": depth, "ordering": ordering, "present": present, "nbytes": 9, "seconds": 0.5}
        assert unroll_grid(stages=stages, tp=1, **given) == unroll(ranks=stages, **given)


@pytest.mark.parametrize("tp", [2, 3])
def test_each_column_holds_the_plain_loop_and_collectives(tp: int) -> None:
    plain = unroll(ranks=3, depth=1, ordering=NAMED["parity"], present=full(3, 1))
    grid = unroll_grid(stages=3, tp=tp, depth=1, ordering=NAMED["parity"], present=full(3, 1))
    rounds = sum(isinstance(op, Isend) and op.comm == CONTROL for op in plain[0])
    for rank, operations in enumerate(grid):
        stage, column = divmod(rank, tp)
        own = [op for op in operations if getattr(op, "comm", "") not in STAGE_LIBRARY]
        assert [getattr(op, "peer", None) for op in own] == [
            peer * tp + column if (peer := getattr(op, "peer", None)) is not None else None for op in plain[stage]
        ]
        collective = [op for op in operations if getattr(op, "comm", "") in STAGE_LIBRARY]
        assert all(isinstance(op, Send | Recv) and op.peer // tp == stage for op in collective)
        launches = sum(isinstance(op, Compute) for op in operations)
        polls = sum(op.comm == "stage control" for op in collective)
        if column > 0:  # two operations an exchange, one a broadcast
            assert polls == (0 if stage else rounds)
            assert len(collective) - polls == launches * (2 + 2 * (stage > 0) + (stage == 2))


@pytest.mark.parametrize("data", LIBRARIES)
@pytest.mark.parametrize(("stages", "tp", "depth"), [(1, 2, 0), (2, 2, 0), (2, 2, 1), (3, 2, 0), (2, 3, 1), (4, 2, 2)])
def test_the_grid_has_the_verdicts_of_its_columns(data: str, stages: int, tp: int, depth: int) -> None:
    verdicts = {}
    for name, ordering in NAMED.items():
        given = {"depth": depth, "ordering": ordering, "present": full(stages, depth)}
        plain = verdict(unroll(ranks=stages, **given), data)
        verdicts[name] = verdict(unroll_grid(stages=stages, tp=tp, **given), data)
        assert verdicts[name] == plain, name
    assert verdicts["parity"] == "ok"
    assert stages == 1 or verdicts["receive-first"] != "ok"


def test_columns_that_are_well_alone_can_hang_together() -> None:
    """Why the grid is one program: here the columns disagree on whether the last iteration has a batch, as they would
    where each took what arrived by itself."""
    presence = ([True] * 3, [True, True, False])
    given = {"stages": 2, "depth": 0, "ordering": NAMED["parity"]}
    for present in presence:
        assert verdict(unroll(ranks=2, depth=0, ordering=NAMED["parity"], present=present), "gloo") == "ok"
    grid = program(unroll_rank(grid_loop(rank=rank, tp=2, **given), presence[rank % 2]) for rank in range(4))
    assert verdict(grid, "gloo") == "deadlock"


def test_no_grid_without_columns() -> None:
    with pytest.raises(ValueError, match="tp is 0; give 1 or more"):
        next(grid_loop(rank=0, stages=1, tp=0, depth=0, ordering=NAMED["parity"]))
