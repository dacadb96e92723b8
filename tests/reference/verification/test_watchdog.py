"""The board, and what the watchdog makes of it. Time is injected."""

import multiprocessing
from collections.abc import Callable

import pytest

from model.pipelines.serving import Phase
from model.program.ops import Isend, Recv, Wait
from reference.verification.status_board import (
    PHASE_END,
    PHASE_JOIN,
    PHASE_LOAD,
    PHASE_START,
    PHASES,
    RankStatus,
    StatusBoard,
)
from reference.verification.watchdog import PipelineStalled, RankDied, Watchdog, find_circuit, status_table


def at(rank: int, peer: int | None = None, phase: str = Phase.SEND_OUTPUT) -> RankStatus:
    return RankStatus(
        rank=rank,
        progress=9,
        since=90.0,
        phase=phase,
        iteration=4,
        slot=1,
        kind="" if peer is None else "isend",
        peer=peer,
        tag=2,
    )


@pytest.fixture
def board() -> StatusBoard:
    return StatusBoard(multiprocessing.get_context("spawn"), 2)


def test_a_rank_starts_at_the_start(board: StatusBoard) -> None:
    assert [(item.rank, item.phase, item.peer) for item in board.statuses()] == [
        (0, PHASE_START, None),
        (1, PHASE_START, None),
    ]


@pytest.mark.parametrize(
    ("op", "waits_for", "text"),
    [
        (Recv(peer=0, tag=1), 0, "recv(0, tag=1)"),
        (Isend(peer=0, tag=2, request=2), 0, "isend(0, tag=2)"),
        (Wait(requests=(2,)), 0, "wait(0, tag=2)"),
        (None, None, ""),
    ],
)
def test_what_is_written_is_read(
    board: StatusBoard, op: Recv | Isend | Wait | None, waits_for: int | None, text: str
) -> None:
    before = board.progress()
    board.begin_step(1, Phase.WAIT, op, waits_for=waits_for, slot=2, iteration=7, clock=lambda: 5.0)
    seen = board.read(1)
    assert (seen.phase, seen.slot, seen.iteration, seen.since) == (Phase.WAIT, 2, 7, 5.0)
    assert (seen.peer, seen.op) == (waits_for, text)
    assert board.progress() == (before[0], before[1] + 1)


@pytest.mark.parametrize("phase", PHASES)
def test_every_phase_has_its_name_on_the_board(board: StatusBoard, phase: str) -> None:
    board.begin_step(0, phase)
    assert board.read(0).phase == phase


@pytest.mark.parametrize(
    ("peers", "circuit"),
    [
        ([1, 2, 0], (0, 1, 2)),
        ([1, 0, 1], (0, 1)),
        ([2, 0, 1], (0, 2, 1)),
        ([1, 2, 3, 2], (2, 3)),
        ([1, 2, None], ()),
        ([None, 0], ()),
        ([None], ()),
        ([0], (0,)),
    ],
)
def test_circuits(peers: list[int | None], circuit: tuple[int, ...]) -> None:
    assert find_circuit([at(rank, peer) for rank, peer in enumerate(peers)]) == circuit


def test_a_suspended_rank_is_in_no_circuit() -> None:
    assert find_circuit([at(0, 1), at(1, 0)], leave_out={1}) == ()


@pytest.fixture
def watchdog(board: StatusBoard) -> Watchdog:
    return Watchdog(board, limit=10.0, start_limit=100.0, max_gap=1.0)


def seconds_until(look: Callable[[float], bool], step: float = 1.0) -> float | None:
    """How long the watchdog stays calm when it looks every `step` seconds."""
    return next((count * step for count in range(1000) if look(count * step)), None)


def test_a_pipeline_in_its_loop_has_the_limit(board: StatusBoard, watchdog: Watchdog) -> None:
    for rank in (0, 1):
        board.begin_step(rank, Phase.LAUNCH)
    assert seconds_until(watchdog.check) == 10.0


@pytest.mark.parametrize("phase", [PHASE_START, PHASE_LOAD, PHASE_JOIN])
def test_a_pipeline_that_starts_has_the_other_limit(board: StatusBoard, watchdog: Watchdog, phase: str) -> None:
    board.begin_step(0, Phase.RECV_REQUESTS)
    board.begin_step(1, phase)
    assert seconds_until(watchdog.check) == 100.0


def test_progress_of_every_rank_starts_the_time_anew(board: StatusBoard, watchdog: Watchdog) -> None:
    for rank in (0, 1):
        board.begin_step(rank, Phase.POLL)
    assert not any(watchdog.check(float(now)) for now in range(10))
    for rank in (0, 1):
        board.begin_step(rank, Phase.POLL)
    assert not any(watchdog.check(10.0 + now) for now in range(10))
    assert watchdog.check(20.0) and watchdog.stalled == [0, 1]


def test_a_rank_that_stands_still_is_seen_beside_one_that_goes_on(board: StatusBoard, watchdog: Watchdog) -> None:
    for rank in (0, 1):
        board.begin_step(rank, Phase.POLL)
    for now in range(10):
        board.begin_step(1, Phase.POLL)
        assert not watchdog.check(float(now))
    board.begin_step(1, Phase.POLL)
    assert watchdog.check(10.0) and watchdog.stalled == [0] and watchdog.idle_seconds == 10.0


def test_who_waited_long_for_a_slow_start_is_not_accused_when_it_is_over(
    board: StatusBoard, watchdog: Watchdog
) -> None:
    board.begin_step(0, Phase.RECV_REQUESTS)
    board.begin_step(1, PHASE_LOAD)
    assert not any(watchdog.check(float(now)) for now in range(60))
    board.begin_step(1, Phase.RECV_REQUESTS)
    assert not any(watchdog.check(60.0 + now) for now in range(10))
    assert watchdog.check(70.0)


def test_a_rank_at_its_end_need_not_go_on(board: StatusBoard, watchdog: Watchdog) -> None:
    board.begin_step(0, PHASE_END)
    for now in range(20):
        board.begin_step(1, Phase.POLL)
        assert not watchdog.check(float(now))
    assert watchdog.idle_seconds == 0.0


def test_only_ranks_that_stand_still_are_accused() -> None:
    stuck = PipelineStalled(statuses=[at(0, 1), at(1, 0), at(2, 1)], seconds=30, now=100.0, stalled=[2], stopped=[2])
    assert stuck.circuit == ()
    assert str(stuck).startswith("rank 2 made no progress for 30 s: the process of rank 2 is suspended")


def test_a_watcher_that_was_suspended_accuses_nobody(board: StatusBoard, watchdog: Watchdog) -> None:
    board.begin_step(0, PHASE_END)
    board.begin_step(1, PHASE_END)
    assert not watchdog.check(0.0)
    assert not watchdog.check(10_000.0)
    assert seconds_until(lambda passed: watchdog.check(10_000.0 + passed)) == 9.0


def test_a_deadlock_names_its_circuit() -> None:
    stuck = PipelineStalled(statuses=[at(0, 1), at(1, 2), at(2, 1)], seconds=30, now=100.0)
    assert stuck.circuit == (1, 2)
    lines = str(stuck).splitlines()
    assert lines[0] == "no rank made progress for 30 s: deadlock, rank 1 -> rank 2 -> rank 1 wait for each other"
    assert lines[3].split() == ["0", "send", "output", "isend(1,", "tag=2)", "rank", "1", "4", "1", "10.0", "s"]
    assert lines[-1].startswith("what to do: choose another ordering")


def test_a_slow_rank_is_called_slow() -> None:
    stuck = PipelineStalled(statuses=[at(0, 1), at(1, None, Phase.LAUNCH)], seconds=30, now=100.0)
    assert stuck.circuit == ()
    assert "rank 1 is slow, not stuck, in: launch forward" in str(stuck)
    assert "raise the watchdog's time" in str(stuck)


def test_a_slow_start_is_called_that() -> None:
    stuck = PipelineStalled(statuses=[at(0, None, PHASE_JOIN), at(1, None, PHASE_LOAD)], seconds=600, now=700.0)
    assert "rank 0, 1 is slow" in str(stuck)
    assert "raise start_timeout" in str(stuck)


def test_a_suspended_rank_is_to_blame() -> None:
    stuck = PipelineStalled(statuses=[at(0, 1), at(1, 0)], seconds=30, now=100.0, stopped=[1])
    assert stuck.circuit == ()
    assert "the process of rank 1 is suspended" in str(stuck)


def test_a_dead_rank_says_where_and_how() -> None:
    died = RankDied(rank=2, exitcode=-9, status=at(2, 0))
    assert str(died).startswith("rank 2 was ended by signal 9 in iteration 4 at: send output isend(0, tag=2);")
    assert "ended with status 3" in str(RankDied(rank=2, exitcode=3, status=at(2)))
    assert str(RankDied(rank=2, exitcode=None, status=at(2), reason="boom\n")).endswith("\nboom")


def test_clients_are_whom_rank_0_waits_for() -> None:
    assert "clients" in status_table([at(0, None, Phase.POLL)], 100.0)


def test_in_a_collective_a_rank_waits_for_those_that_have_not_come() -> None:
    board = StatusBoard(multiprocessing.get_context("spawn"), 4)
    for rank in range(4):
        board.begin_step(rank, Phase.LAUNCH, iteration=3)
    for rank in (2, 3):
        board.begin_collective(rank, "all-reduce", (2, 3))
        board.end_collective(rank)
    before = board.progress()
    board.begin_collective(3, "all-reduce", (2, 3))
    assert board.progress()[3] == before[3] + 1
    seen = board.read(3)
    assert (seen.phase, seen.iteration, seen.op, seen.waits_for) == (Phase.LAUNCH, 3, "all-reduce(2, 3)", (2,))
    assert "rank 2 " in status_table([seen], 100.0)
    board.begin_collective(2, "all-reduce", (2, 3))
    assert board.read(2).waits_for == board.read(3).waits_for == (), "both have come"
    board.end_collective(3)
    assert (board.read(3).op, board.read(3).waits_for) == ("", ())


def test_a_circuit_may_go_through_a_collective() -> None:
    """Rank 0 has come to a collective, 1 has not: it waits for rank 3's message, and 3 for one of rank 0."""
    waiting = at(0, None, Phase.LAUNCH)
    meeting = RankStatus(
        **{name: getattr(waiting, name) for name in RankStatus.__slots__} | {"members": (0, 1, 2), "late": (2, 1)}
    )
    assert find_circuit([meeting, at(1, 3), at(2, None), at(3, 0)]) == (0, 1, 3)
