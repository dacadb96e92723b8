"""A hang is told from slowness, from death and from set-up."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from experiments.lab.hang_detector import HangDetector, Sample, TimeLimits, Waiting, supported_verdict
from experiments.lab.progress import SETTING_UP, ProgressCounters

STUCK = Sample(
    verdict="unclear",
    done=(0, 1),
    operations=(2, 2),
    cpu_seconds=(0.0, 0.01),
    status=("sleeping", "sleeping"),
    exits=(None, None),
)


@pytest.mark.parametrize(
    ("change", "waiting", "verdict"),
    [
        ({}, ("asleep",), "hang"),
        ({}, ("polling",), "unclear"),
        ({"cpu_seconds": (0.5, 0.6), "status": ("running", "running")}, ("polling",), "hang"),
        ({"cpu_seconds": (0.5, 0.6), "status": ("running", "running")}, ("asleep",), "unclear"),
        ({"cpu_seconds": (0.5, 0.0), "status": ("running", "sleeping")}, ("asleep", "polling"), "hang"),
        ({"cpu_seconds": (0.5, 0.0), "status": ("running", "sleeping")}, ("asleep",), "unclear"),
        ({"cpu_seconds": (0.0, 0.05)}, ("asleep", "polling"), "unclear"),
        ({"status": ("sleeping", "running")}, ("asleep",), "unclear"),
        ({"status": ("sleeping", "stopped")}, ("asleep",), "unclear"),
        ({"cpu_seconds": None}, ("asleep",), "unclear"),
        ({"done": (SETTING_UP, 1)}, ("asleep",), "unclear"),
        ({"exits": (None, 1)}, ("asleep",), "unclear"),
        ({"exits": (None, -9)}, ("asleep",), "unclear"),
        ({"done": (2, 1), "cpu_seconds": (9.0, 0.0), "status": ("running", "sleeping")}, ("asleep",), "hang"),
        ({"done": (2, 2)}, ("asleep",), "ok"),
        ({"done": (2, 2), "exits": (0, 3)}, ("asleep",), "unclear"),
    ],
)
def test_only_what_fits_is_a_hang(change: dict[str, object], waiting: tuple[Waiting, ...], verdict: str) -> None:
    assert supported_verdict(replace(STUCK, **change), waiting) == verdict  # type: ignore[arg-type]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def counters(tmp_path: Path) -> Iterator[ProgressCounters]:
    counters = ProgressCounters(tmp_path / "counters", 2)
    yield counters
    counters.close()


def watch(
    counters: ProgressCounters, clock: Clock, exits: Callable[[], list[int | None]] = lambda: [None, None]
) -> HangDetector:
    return HangDetector(
        probe=0,
        counters=counters,
        operations=[2, 2],
        exits=exits,
        said=lambda: "last words",
        waiting=("asleep",),
        limits=TimeLimits(window_s=2, limit_s=10),
        clock=clock,
    )


def look(watch: HangDetector, clock: Clock, until: float) -> Sample | None:
    """Looks every tenth of a second of the clock."""
    while clock.now < until:
        clock.now += 0.1
        if (sample := watch.check()) is not None:
            return sample
    return None


@pytest.fixture
def sleepers() -> Iterator[list[int]]:
    """Two processes that sleep."""
    command = [sys.executable, "-c", "print(flush=True); import time; time.sleep(600)"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None and process.stdout.read(1)
        while psutil.Process(process.pid).status() != psutil.STATUS_SLEEPING:
            pass
    yield [process.pid for process in processes]
    for process in processes:
        process.kill()
        process.communicate()


def test_a_hang_takes_a_whole_window_without_movement(counters: ProgressCounters, sleepers: list[int]) -> None:
    clock = Clock()
    watching = watch(counters, clock)
    for rank, pid in enumerate(sleepers):
        counters.set_pid(rank, pid)
        counters.set(rank, 0, 0)
    assert look(watching, clock, until=1.9) is None
    counters.set(1, 0, 1)
    assert look(watching, clock, until=3.8) is None
    sample = look(watching, clock, until=9)
    assert sample is not None
    assert (sample.verdict, sample.done, sample.said) == ("hang", (0, 1), "")
    assert clock.now < 4.5


def test_ranks_that_are_not_there_do_not_hang(counters: ProgressCounters) -> None:
    clock = Clock()
    watching = watch(counters, clock)
    for rank in range(2):
        counters.set(rank, 0, 0)
    sample = look(watching, clock, until=99)
    assert sample is not None
    assert (sample.verdict, sample.status, sample.said) == ("unclear", ("not started", "not started"), "last words")
    assert clock.now > 10


def test_setting_up_is_never_a_hang(counters: ProgressCounters, sleepers: list[int]) -> None:
    clock = Clock()
    watching = watch(counters, clock)
    for rank, pid in enumerate(sleepers):
        counters.set_pid(rank, pid)
    sample = look(watching, clock, until=99)
    assert sample is not None and sample.verdict == "unclear"


def test_a_rank_that_ended_is_unclear_at_once(counters: ProgressCounters) -> None:
    clock = Clock()
    sample = look(watch(counters, clock, exits=lambda: [None, 7]), clock, until=1)
    assert sample is not None
    assert (sample.verdict, sample.exits) == ("unclear", (None, 7))


def test_a_team_that_finished_and_left_is_ok(counters: ProgressCounters) -> None:
    clock = Clock()
    counters.set(0, 0, 2)
    counters.set(1, 1, SETTING_UP)  # it is at the next probe already
    sample = look(watch(counters, clock, exits=lambda: [0, 0]), clock, until=1)
    assert sample is not None
    assert (sample.verdict, sample.done) == ("ok", (2, 2))


def test_marks_round_trip(tmp_path: Path) -> None:
    ours, theirs = ProgressCounters(tmp_path / "counters", 3), ProgressCounters(tmp_path / "counters", 3)
    assert ours.get(2) == (0, SETTING_UP)
    assert ours.pids() == [0, 0, 0]
    for place in ((0, SETTING_UP), (0, 0), (5, 17), (2**20, 2**20)):
        theirs.set(2, *place)
        assert ours.get(2) == place
    theirs.set_pid(1, 4711)
    assert ours.pids() == [0, 4711, 0]
    ours.close()
    theirs.close()


@pytest.mark.parametrize(("window", "limit"), [(0, 1), (-1, 1), (2, 1), (1, 1), (float("nan"), 1)])
def test_patience_out_of_range_is_refused(window: float, limit: float) -> None:
    with pytest.raises(ValueError, match="window_s is"):
        TimeLimits(window_s=window, limit_s=limit)
