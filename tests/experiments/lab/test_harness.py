"""The real harness on real processes: it tells a known hang from a known ok, and both from a death."""

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from experiments.hang_matrix.matrix import Cell
from experiments.hang_matrix.mpich import search_limit
from experiments.lab.errors import ProbesFailed
from experiments.lab.gloo import GlooLauncher
from experiments.lab.hang_detector import Sample, TimeLimits
from experiments.lab.harness import Harness, JobInFlight, Launcher
from experiments.lab.mpich import MpichLauncher
from model.program.ops import Isend, Operation, Recv, Send
from tests.patience import stretch, wait_until

pytestmark = pytest.mark.xdist_group("teams")

LIMIT_S = 60.0


@pytest.fixture(scope="module")
def gloo() -> GlooLauncher:
    return GlooLauncher()


@pytest.fixture
def mpich(require: Callable[[str, str], str], require_module: Callable[[str, str], None]) -> MpichLauncher:
    require_module("mpi4py", "pip install mpi4py mpich")
    require("mpiexec", "pip install mpich")
    return MpichLauncher()


def lab(launcher: Launcher, *, window_s: float = 1.0, limit_s: float = LIMIT_S) -> Harness:
    return Harness(launcher, TimeLimits(window_s=stretch(window_s), limit_s=stretch(limit_s)))


def cell(ordering: str, *, ranks: int = 2, nbytes: int = 1, style: str = "send") -> Cell:
    return Cell(ordering=ordering, ranks=ranks, nbytes=nbytes, style=style, rounds=2)  # type: ignore[arg-type]


def verdicts(lab: Harness, plan: Sequence[Cell]) -> dict[Cell, Sample]:
    with lab:
        return dict(lab.measure(plan))


def decide(job: JobInFlight[Cell]) -> Sample:
    """The first sample of a group."""
    samples: list[Sample] = []
    wait_until(lambda: samples.extend(sample for _, sample in job.poll()) or samples, 2 * LIMIT_S, what="no sample")
    return samples[0]


def wait_until_stuck(job: JobInFlight[Cell]) -> None:
    """Until every rank is in its first operation."""
    wait_until(lambda: all(job.counters.get(rank) == (0, 0) for rank in range(job.ranks)), LIMIT_S)


def gone(pids: Sequence[int]) -> bool:
    """Whether no process is left of these (one that has ended and is not yet reaped counts as gone)."""
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=stretch(10))
    return all(process.status() == psutil.STATUS_ZOMBIE for process in alive)


@dataclass(frozen=True)
class Lone:
    """A probe whose second rank waits for a message that the first, which finishes, never sends."""

    ranks: int = 2
    nbytes: int = 1

    def program(self) -> tuple[tuple[Operation, ...], ...]:
        return (Isend(peer=1, request="s", tag=1),), (Recv(peer=0, tag=2),)


GLOO_HANGS = [
    cell("send-first"),
    cell("receive-first", ranks=3, style="isend"),
    cell("send-first", nbytes=2**20),
]
GLOO_PASSES = [
    cell("parity"),
    cell("parity", ranks=3, nbytes=2**20),
    cell("send-first", style="isend"),
    cell("receive-first", style="batch"),
    cell("last-sends-first", ranks=3, style="isend-wait"),
]
LONE = Lone()


@pytest.fixture(scope="module")
def gloo_samples(gloo: GlooLauncher) -> dict[object, Sample]:
    """All known cells in one measurement, so that their windows pass at the same time; hangs come first."""
    with lab(gloo) as open_lab:
        return dict(open_lab.measure([*GLOO_HANGS, LONE, *GLOO_PASSES]))


def test_gloo_known_hangs_and_known_passes(gloo_samples: dict[object, Sample]) -> None:
    verdicts = {one: sample.verdict for one, sample in gloo_samples.items()}
    assert verdicts == {
        **dict.fromkeys(GLOO_HANGS, "hang"),
        LONE: "hang",
        **dict.fromkeys(GLOO_PASSES, "ok"),  # measured although each came after a hang of a group of as many ranks
    }
    assert gloo_samples[GLOO_HANGS[0]].done == (0, 0)
    assert gloo_samples[GLOO_HANGS[1]].done == (0, 0, 0)


def test_a_rank_that_waits_for_one_that_finished_hangs(gloo_samples: dict[object, Sample]) -> None:
    assert gloo_samples[LONE].done == (1, 0)


def test_a_blocking_isend_on_gloo_hangs_polling() -> None:
    hang, passes = cell("send-first", style="isend"), cell("parity", ranks=3, style="isend")
    seen = verdicts(lab(GlooLauncher(blocking=True)), [hang, passes])
    assert (seen[hang].verdict, seen[passes].verdict) == ("hang", "ok")
    assert seen[hang].cpu_seconds is not None and min(seen[hang].cpu_seconds) >= 0.1


def test_mpich_hangs_above_its_eager_limit_only(mpich: MpichLauncher) -> None:
    small, large = cell("send-first", nbytes=1), cell("send-first", nbytes=2**20)
    passes = [cell("parity", ranks=3, nbytes=2**20, style=style) for style in ("send", "isend-wait", "isend", "batch")]
    seen = verdicts(lab(mpich, window_s=0.5), [small, *passes, large])
    assert (seen[small].verdict, seen[large].verdict) == ("ok", "hang")
    assert {seen[one].verdict for one in passes} == {"ok"}


def test_mpich_s_limit_is_found(mpich: MpichLauncher) -> None:
    with lab(mpich, window_s=0.5) as open_lab:
        limit, tried = search_limit(open_lab, 8000, 8200)
        assert dict(tried)[limit] == "ok" and dict(tried)[limit + 1] == "hang"
        with pytest.raises(ProbesFailed, match="every size from 1 to 2 bytes passes"):
            search_limit(open_lab, 1, 2)
        with pytest.raises(ValueError, match="limit_between is 5 to 5"):
            search_limit(open_lab, 5, 5)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_gloo_rank_that_dies_is_unclear_and_no_hang(gloo: GlooLauncher, how: signal.Signals) -> None:
    with lab(gloo, window_s=30) as open_lab:
        job = open_lab.start([cell("send-first", ranks=3)])
        wait_until_stuck(job)
        pids = job.counters.pids()
        os.kill(pids[1], how)
        sample = decide(job)
    assert gone(pids)
    assert (sample.verdict, sample.exits[1]) == ("unclear", -how)


def shared_files(pids: Sequence[int]) -> set[Path]:
    """The shared memory that these processes have mapped: other groups of this machine have files of their own."""
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    return {Path(line.split()[5]) for line in lines if "/dev/shm/mpich" in line}


def test_an_mpich_rank_that_dies_is_unclear_and_nothing_is_left(mpich: MpichLauncher) -> None:
    with lab(mpich, window_s=30) as open_lab:
        job = open_lab.start([cell("receive-first")])
        wait_until_stuck(job)
        pids = job.counters.pids()
        files = shared_files(pids)
        assert files
        os.kill(pids[1], signal.SIGKILL)
        sample = decide(job)
    assert gone(pids)
    assert sample.verdict == "unclear"
    assert sample.exits[0] not in (None, 0)
    assert not any(file.exists() for file in files)


@dataclass(frozen=True)
class Odd:
    """A probe whose second rank sends more than the first expects, or to nobody."""

    peer: int
    ranks: int = 2
    nbytes: int = 4

    def program(self) -> tuple[tuple[Operation, ...], ...]:
        return (Recv(peer=1),), (Send(peer=self.peer, nbytes=4),)


def test_a_rank_that_fails_says_why(gloo: GlooLauncher) -> None:
    with lab(gloo, window_s=30) as open_lab:
        ((_, sample),) = open_lab.measure([Odd(peer=7)])
    assert sample.verdict == "unclear"
    # rank 1 fails, and rank 0 then too, as its peer has gone: either may be seen first
    assert any(status not in (None, 0) for status in sample.exits), sample
    assert sample.said


def test_a_suspended_rank_is_unclear(gloo: GlooLauncher) -> None:
    with lab(gloo, window_s=0.5, limit_s=4) as open_lab:
        job = open_lab.start([cell("send-first")])
        wait_until_stuck(job)
        os.kill(job.counters.pids()[0], signal.SIGSTOP)
        assert decide(job).verdict == "unclear"


def test_too_many_unclear_probes_end_the_run(gloo: GlooLauncher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.lab.harness.MAX_UNCLEAR", 3)
    with lab(gloo, window_s=30) as open_lab, pytest.raises(ProbesFailed, match="3 probes neither finished nor hung"):
        list(open_lab.measure([Odd(peer=7)] * 4))


@pytest.mark.parametrize("library", ["gloo", "mpich"])
def test_a_run_that_is_broken_off_leaves_no_process_and_no_file(library: str, request: pytest.FixtureRequest) -> None:
    with lab(request.getfixturevalue(library), window_s=30) as open_lab:
        with closing(open_lab.measure([cell("parity"), cell("receive-first")])) as probes:
            next(probes)
            (job,) = open_lab.in_flight
            pids = job.counters.pids()
        assert open_lab.in_flight == []
        folder = open_lab.folder
    assert all(pids) and gone(pids)
    assert not folder.exists()
