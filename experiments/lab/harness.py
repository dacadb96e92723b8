"""Runs many probes on groups of real processes, several groups at a time, and watches each probe.

A group performs its probes one after the other. One that hangs, or is unclear, is the last of its group:
the group is ended and what it had left goes to a new one.
"""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from experiments.lab.errors import ProbesFailed
from experiments.lab.hang_detector import HangDetector, Sample, TimeLimits, Waiting
from experiments.lab.progress import ProgressCounters
from experiments.lab.rank_driver import Probe, write_job

P = TypeVar("P", bound=Probe)

MAX_UNCLEAR = 10


class ProcessGroup(Protocol):
    """The processes of one group."""

    def exits(self) -> Sequence[int | None]:
        """The exit status of each rank, None while it runs."""

    def end(self, *, finished: bool) -> None:
        """End every process, however it stands, and remove what it leaves; `finished`: its job is done."""

    def said(self) -> str:
        """The last line that a rank wrote on standard error."""


class Launcher(Protocol):
    """Starts the groups of one library.

    waiting: the ways in which a rank waits. ranks_in_flight: the most processes at a time that two cores
    carry well. longest_job: the most probes that it pays to give to one group.
    """

    waiting: tuple[Waiting, ...]
    ranks_in_flight: int
    longest_job: int

    def launch(self, *, job: Path, counters: Path, ranks: int, folder: Path) -> ProcessGroup: ...


class JobInFlight(Generic[P]):
    """A group at work on `left`. `over`: it performs no more; `finished`: because its job is done."""

    def __init__(
        self,
        group: ProcessGroup,
        probes: Sequence[P],
        *,
        counters: ProgressCounters,
        waiting: tuple[Waiting, ...],
        limits: TimeLimits,
    ) -> None:
        self.group, self.counters, self.ranks = group, counters, counters.ranks
        self.left = deque(probes)
        self.over = False
        self.finished = False
        self._waiting, self._limits = waiting, limits
        self._detector = self._detector_of(0)

    def poll(self) -> Iterator[tuple[P, Sample]]:
        """The probes decided since the last call, in order."""
        while not self.over and (sample := self._detector.check()) is not None:
            probe = self.left.popleft()
            self.finished = sample.verdict == "ok" and not self.left
            self.over = sample.verdict != "ok" or self.finished
            if not self.over:
                self._detector = self._detector_of(self._detector.probe + 1)
            yield probe, sample

    def end(self) -> None:
        """End the group's processes."""
        self.group.end(finished=self.finished)
        self.counters.close()

    def _detector_of(self, number: int) -> HangDetector:
        return HangDetector(
            probe=number,
            counters=self.counters,
            operations=[len(ops) for ops in self.left[0].program()],
            exits=self.group.exits,
            said=self.group.said,
            waiting=self._waiting,
            limits=self._limits,
            clock=time.monotonic,
        )


class Harness:
    """Where groups work. A context: leaving it ends every process and removes every file.

    in_flight: the groups at work. folder: their files.
    """

    def __init__(self, launcher: Launcher, limits: TimeLimits) -> None:
        self._launcher, self._limits = launcher, limits
        self.in_flight: list[JobInFlight[Any]] = []
        self._started = 0

    def __enter__(self) -> Harness:
        with ExitStack() as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ringproof-")))
            stack.callback(self._end_all)
            self._cleanup = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def start(self, probes: Sequence[P]) -> JobInFlight[P]:
        """Start a group on probes that have the same number of ranks."""
        self._started += 1
        folder = self.folder / f"group-{self._started}"
        folder.mkdir()
        write_job(folder / "job.json", probes, limit_s=self._limits.limit_s)
        ranks = probes[0].ranks
        counters = ProgressCounters(folder / "counters", ranks)
        group = self._launcher.launch(job=folder / "job.json", counters=folder / "counters", ranks=ranks, folder=folder)
        job = JobInFlight(group, probes, counters=counters, waiting=self._launcher.waiting, limits=self._limits)
        self.in_flight.append(job)
        return job

    def measure(self, plan: Sequence[P]) -> Generator[tuple[P, Sample]]:
        """Each probe of the plan with what was seen of it, as they are decided; their order is kept for each P.

        Raises ProbesFailed once `MAX_UNCLEAR` of them were unclear.
        """
        queues: dict[int, deque[P]] = {}
        for probe in plan:
            queues.setdefault(probe.ranks, deque()).append(probe)
        unclear = 0
        try:
            while self.in_flight or any(queues.values()):
                self._start_what_fits(queues)
                for job in list(self.in_flight):
                    for probe, sample in job.poll():
                        yield probe, sample
                        unclear += sample.verdict == "unclear"
                        if unclear >= MAX_UNCLEAR:
                            raise ProbesFailed(
                                f"{unclear} probes neither finished nor hung; the last said: {sample.said}"
                            )
                    if job.over:
                        self.in_flight.remove(job)
                        job.end()
                        queues[job.ranks].extendleft(reversed(job.left))
                time.sleep(0.01)
        finally:
            self._end_all()

    def _start_what_fits(self, queues: Mapping[int, deque[P]]) -> None:
        """Start groups while there is room; the longest queue among those whose group fits comes first."""
        while True:
            room = self._launcher.ranks_in_flight - sum(job.ranks for job in self.in_flight)
            fits = [
                (len(queue), ranks)
                for ranks, queue in queues.items()
                if queue and (ranks <= room or not self.in_flight)
            ]
            if not fits:
                return
            queue = queues[max(fits)[1]]
            self.start([queue.popleft() for _ in range(min(self._launcher.longest_job, len(queue)))])

    def _end_all(self) -> None:
        while self.in_flight:
            self.in_flight.pop().end()


def last_line(file: Path) -> str:
    """The last line of a file that has one, else nothing."""
    lines = file.read_text(errors="replace").split("\n") if file.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
