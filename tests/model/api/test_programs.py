"""What the public functions take beyond texts and lists: schedules of torch, named programs, orderings and patterns."""

import json
from pathlib import Path
from typing import Any

import pytest

import model
from model.pipelines import torch_schedules
from model.rings.orderings import NAMED
from model.semantics.table import Table
from model.synthesis.patterns import Pattern, Transfer

ROWS = [["0F0", "0SEND_F0", "0RECV_B0", "0B0"], ["1RECV_F0", "1F0", "1B0", "1SEND_B0"]]
CSV = "\n".join(",".join(row) for row in ROWS)


class LikeTorch:
    """A schedule object as `torch.distributed.pipelining` has them, for all that is read of it."""

    def __init__(self, rows: list[list[str]]) -> None:
        self.pipeline_order_with_comms = dict(enumerate(rows))


def test_a_schedule_is_taken_as_an_object_a_file_and_rows(tmp_path: Path) -> None:
    file = tmp_path / "schedule.csv"
    file.write_text(CSV)
    made = model.pipeline(ROWS)
    assert len(made) == 2
    for given in (LikeTorch(ROWS), file, str(file), torch_schedules.schedule(ROWS)):
        assert model.pipeline(given) == made
        assert model.check(given, "nccl").verdict == "ok"
        assert model.period(given).ticks == model.period(made).ticks
    assert model.check(model.pipeline(ROWS, style="blocking"), "rendezvous").verdict == "ok"


def test_a_schedule_that_was_not_lowered_is_told_so() -> None:
    schedule = LikeTorch(ROWS)
    schedule.pipeline_order_with_comms = None  # type: ignore[assignment]
    with pytest.raises(ValueError, match="give a schedule that was lowered"):
        model.check(schedule, "nccl")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a schedule is expected, and this is int"):
        model.pipeline(3)


def test_rings_by_name_by_vector_and_by_object() -> None:
    assert model.ring() == model.ring("parity", 4) == model.ring(NAMED["parity"], 4)
    assert model.ring("SRS") == model.ring("SRS", 3)
    assert model.check("ring").verdict == "ok"
    assert isinstance(model.ring("parity", 200_000), Table)
    assert model.check(model.ring("send-first", 200_000), "eager").verdict == "ok"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("SRSX",), "unknown ordering 'SRSX'"),
        (("SRS", 4), "3 letters for 4 ranks"),
        ((3,), "an ordering is expected"),
        (("parity", 1), "ranks is 1"),
    ],
)
def test_what_is_no_ring_is_told_so(given: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        model.ring(*given)


def test_a_large_ring_is_taken_by_every_function_that_times_it() -> None:
    ring = model.ring("parity", 200_000)
    assert model.simulate(ring).makespan == 2
    assert str(model.period(ring).ticks) == "2"
    with pytest.raises(ValueError, match="fewer ranks"):
        model.diagnose(ring)


def test_the_serving_loop_of_stages_that_are_shared() -> None:
    assert len(model.serving(2, tp=2)) == 4
    assert model.check(model.serving(2, depth=1, ordering="batched"), "nccl").verdict == "ok"
    with pytest.raises(ValueError, match="unknown ordering"):
        model.serving(2, ordering="nobody")


def test_patterns_by_name_as_an_object_and_from_a_file(tmp_path: Path) -> None:
    triangle = Pattern(ranks=3, transfers=tuple(Transfer(source=r, target=(r + 1) % 3) for r in range(3)))
    file = tmp_path / "triangle.json"
    file.write_text(json.dumps({"ranks": 3, "transfers": [[0, 1], [1, 2], [2, 0]]}))
    for found in (model.synthesise("ring", 3), model.synthesise(triangle), model.synthesise(file)):
        assert (found.steps, found.bound) == (3, 3)
        assert model.check(found, "rendezvous").verdict == "ok"
    assert model.synthesise(LikeTorch(ROWS)).result is not None
    for given, said in ((("ring",), "takes the number of ranks"), (("tree", 3), "neither a named pattern")):
        with pytest.raises(ValueError, match=said):
            model.synthesise(*given)


def test_a_library_with_a_changed_parameter() -> None:
    changed = model.library("nccl", fifo=0)
    assert (changed.fifo, changed.order, changed.name) == (0, "pair", "nccl, fifo 0")
    assert model.library("bounded(2)").capacity == 2
    with pytest.raises(ValueError, match="unknown parameter 'eager'"):
        model.library("nccl", eager=3)


def test_sixty_four_orderings_in_one_cell() -> None:
    found = {o: (model.check(model.ring(o)).verdict, model.period(model.ring(o)).ticks) for o in model.vectors(6)}
    assert len(found) == 64
    assert [order for order, (verdict, _) in found.items() if verdict == "deadlock"] == ["SSSSSS", "RRRRRR"]
    assert all((ticks is None) == (verdict == "deadlock") for verdict, ticks in found.values())
    with pytest.raises(ValueError, match=r"2\^ranks"):
        model.vectors(30)
