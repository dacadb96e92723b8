"""Runs many probes on teams of real processes, several teams at a time, and watches each probe.

A team performs its probes one after the other. One that hangs, or is unclear, is the last of its team:
the team is ended and what it had left goes to a new one.
"""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from experiments.lab.progress import Marks
from experiments.lab.rank import Probe, write_job
from experiments.lab.watch import Patience, Sample, Waiting, Watch

P = TypeVar("P", bound=Probe)

MOST_UNCLEAR = 10


class Team(Protocol):
    """The processes of one team."""

    def exits(self) -> Sequence[int | None]:
        """The exit status of each rank, None while it runs."""

    def end(self, *, finished: bool) -> None:
        """End every process, however it stands, and remove what it leaves; `finished`: its job is done."""

    def said(self) -> str:
        """The last line that a rank wrote on standard error."""


class Launcher(Protocol):
    """Starts the teams of one library.

    waiting: the ways in which a rank waits. ranks_in_flight: the most processes at a time that two cores
    carry well. longest_job: the most probes that it pays to give to one team.
    """

    waiting: tuple[Waiting, ...]
    ranks_in_flight: int
    longest_job: int

    def launch(self, *, job: Path, marks: Path, ranks: int, folder: Path) -> Team: ...


class ProbesFailed(RuntimeError):
    """So many probes were unclear that something is wrong with the library or the machine."""


class Flight(Generic[P]):
    """A team at work on `left`. `over`: it performs no more; `finished`: because its job is done."""

    def __init__(
        self, team: Team, probes: Sequence[P], *, marks: Marks, waiting: tuple[Waiting, ...], patience: Patience
    ) -> None:
        self.team, self.marks, self.ranks = team, marks, marks.ranks
        self.left = deque(probes)
        self.over = False
        self.finished = False
        self._waiting, self._patience = waiting, patience
        self._watch = self._watch_probe(0)

    def look(self) -> Iterator[tuple[P, Sample]]:
        """The probes decided since the last look, in order."""
        while not self.over and (sample := self._watch.look()) is not None:
            probe = self.left.popleft()
            self.finished = sample.verdict == "ok" and not self.left
            self.over = sample.verdict != "ok" or self.finished
            if not self.over:
                self._watch = self._watch_probe(self._watch.probe + 1)
            yield probe, sample

    def end(self) -> None:
        """End the team's processes."""
        self.team.end(finished=self.finished)
        self.marks.close()

    def _watch_probe(self, number: int) -> Watch:
        return Watch(
            probe=number,
            marks=self.marks,
            operations=[len(ops) for ops in self.left[0].program()],
            exits=self.team.exits,
            said=self.team.said,
            waiting=self._waiting,
            patience=self._patience,
            clock=time.monotonic,
        )


class Lab:
    """Where teams work. A context: leaving it ends every process and removes every file.

    flights: the teams at work. folder: their files.
    """

    def __init__(self, launcher: Launcher, patience: Patience) -> None:
        self._launcher, self._patience = launcher, patience
        self.flights: list[Flight[Any]] = []
        self._started = 0

    def __enter__(self) -> Lab:
        with ExitStack() as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ringproof-")))
            stack.callback(self._end_all)
            self._cleanup = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def start(self, probes: Sequence[P]) -> Flight[P]:
        """Start a team on probes that have the same number of ranks."""
        self._started += 1
        folder = self.folder / f"team-{self._started}"
        folder.mkdir()
        write_job(folder / "job.json", probes, limit_s=self._patience.limit_s)
        ranks = probes[0].ranks
        marks = Marks(folder / "marks", ranks)
        team = self._launcher.launch(job=folder / "job.json", marks=folder / "marks", ranks=ranks, folder=folder)
        flight = Flight(team, probes, marks=marks, waiting=self._launcher.waiting, patience=self._patience)
        self.flights.append(flight)
        return flight

    def measure(self, plan: Sequence[P]) -> Generator[tuple[P, Sample]]:
        """Each probe of the plan with what was seen of it, as they are decided; their order is kept for each P.

        Raises ProbesFailed once `MOST_UNCLEAR` of them were unclear.
        """
        queues: dict[int, deque[P]] = {}
        for probe in plan:
            queues.setdefault(probe.ranks, deque()).append(probe)
        unclear = 0
        try:
            while self.flights or any(queues.values()):
                self._start_what_fits(queues)
                for flight in list(self.flights):
                    for probe, sample in flight.look():
                        yield probe, sample
                        unclear += sample.verdict == "unclear"
                        if unclear >= MOST_UNCLEAR:
                            raise ProbesFailed(
                                f"{unclear} probes neither finished nor hung; the last said: {sample.said}"
                            )
                    if flight.over:
                        self.flights.remove(flight)
                        flight.end()
                        queues[flight.ranks].extendleft(reversed(flight.left))
                time.sleep(0.01)
        finally:
            self._end_all()

    def _start_what_fits(self, queues: Mapping[int, deque[P]]) -> None:
        """Start teams while there is room; the longest queue among those whose team fits comes first."""
        while True:
            room = self._launcher.ranks_in_flight - sum(flight.ranks for flight in self.flights)
            fits = [
                (len(queue), ranks) for ranks, queue in queues.items() if queue and (ranks <= room or not self.flights)
            ]
            if not fits:
                return
            queue = queues[max(fits)[1]]
            self.start([queue.popleft() for _ in range(min(self._launcher.longest_job, len(queue)))])

    def _end_all(self) -> None:
        while self.flights:
            self.flights.pop().end()


def last_line(file: Path) -> str:
    """The last line of a file that has one, else nothing."""
    lines = file.read_text(errors="replace").split("\n") if file.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
