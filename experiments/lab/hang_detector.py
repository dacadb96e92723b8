"""Tells a hang from slowness, from outside of the ranks.

A hang is decided only where every rank that has not finished stands at an operation of its list, nothing
has moved for a whole window, and each rank's use of the CPU in that window fits how the library waits: a rank
that sleeps used none, a rank that polls kept computing. The second makes the decision hold on an overloaded
machine: ranks that each polled for a tenth of a second would have met, had they been able to.
Whatever neither finished nor fits is `unclear`, never `hang`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import psutil

from experiments.lab.progress import SETTING_UP, ProgressCounters

Verdict = Literal["ok", "hang", "unclear"]
Waiting = Literal["asleep", "polling"]
"""How a rank waits in a call of the library."""

ASLEEP_AT_MOST_S = 0.02  # two clock ticks: CPU times come in ticks of 10 ms
POLLING_AT_LEAST_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What was seen of one probe; index r of each tuple is rank r.

    done: operations finished, of `operations`. cpu_seconds: used in the last window without movement, None
    where no window began. status: the scheduler's, at the end. exits: exit status of ranks that ended early.
    said: the last line on standard error, where the verdict is unclear.
    """

    verdict: Verdict
    done: tuple[int, ...]
    operations: tuple[int, ...]
    cpu_seconds: tuple[float, ...] | None
    status: tuple[str, ...]
    exits: tuple[int | None, ...]
    said: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def supported_verdict(sample: Sample, waiting: tuple[Waiting, ...]) -> Verdict:
    """The verdict that a sample supports, where ranks wait in the given ways; its own `verdict` is not looked at."""
    if any(status is not None for status in sample.exits):
        return "unclear"
    stuck = [rank for rank, done in enumerate(sample.done) if done < sample.operations[rank]]
    if not stuck:
        return "ok"
    if sample.cpu_seconds is None or any(sample.done[rank] == SETTING_UP for rank in stuck):
        return "unclear"
    return (
        "hang" if all(_waits(sample.cpu_seconds[rank], sample.status[rank]) in waiting for rank in stuck) else "unclear"
    )


def _waits(cpu_seconds: float, status: str) -> Waiting | None:
    """How a rank that did not move seems to wait, if it can be told."""
    if cpu_seconds >= POLLING_AT_LEAST_S:
        return "polling"
    if cpu_seconds <= ASLEEP_AT_MOST_S and status == psutil.STATUS_SLEEPING:
        return "asleep"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLimits:
    """window_s: how long nothing may move before a hang is considered; limit_s: when to give up.

    Raises ValueError unless 0 < window_s < limit_s.
    """

    window_s: float
    limit_s: float

    def __post_init__(self) -> None:
        if not 0 < self.window_s < self.limit_s:
            raise ValueError(f"window_s is {self.window_s}; give more than 0 and less than limit_s, {self.limit_s}")


class HangDetector:
    """Watches one probe of a process group.

    operations: length of each rank's list. exits: the exit status of each rank, None while it runs. said: the
    last line that a rank wrote on standard error.
    """

    def __init__(
        self,
        *,
        probe: int,
        counters: ProgressCounters,
        operations: Sequence[int],
        exits: Callable[[], Sequence[int | None]],
        said: Callable[[], str],
        waiting: tuple[Waiting, ...],
        limits: TimeLimits,
        clock: Callable[[], float],
    ) -> None:
        self.probe, self.counters, self.operations = probe, counters, tuple(operations)
        self._exits, self._said, self._waiting, self._clock = exits, said, waiting, clock
        self._window_s, self._limit_s = limits.window_s, limits.limit_s
        self._began = self._still_since = clock()
        self._last: tuple[int, ...] = ()
        self._cpu_before: tuple[float, ...] | None = None

    def check(self) -> Sample | None:
        """The sample once the probe is decided, None before. Call it often: movement is noticed here only."""
        now = self._clock()
        exits = tuple(self._exits())  # before the counters: what a rank counted before it ended is then seen
        done = self._done()
        if done == self.operations:
            return self._decide(done, exits=(None,) * len(done))
        if any(status is not None for status in exits) or now - self._began > self._limit_s:
            return self._decide(done, exits=exits)
        if done != self._last:
            self._last, self._still_since, self._cpu_before = done, now, None
        elif self._cpu_before is None:
            if now - self._still_since >= self._window_s / 4:  # by then a rank has gone into its call
                self._cpu_before = self._cpu()
        elif now - self._still_since >= self._window_s:
            sample = self._decide(done, exits=exits)
            if sample.verdict == "hang":
                return sample
            if "asleep" in self._waiting:
                self._still_since, self._cpu_before = now, None  # something worked: take another window
        return None

    def _done(self) -> tuple[int, ...]:
        counters = (self.counters.get(rank) for rank in range(self.counters.ranks))
        return tuple(
            length if probe > self.probe else done if probe == self.probe else SETTING_UP
            for (probe, done), length in zip(counters, self.operations, strict=True)
        )

    def _decide(self, done: tuple[int, ...], *, exits: tuple[int | None, ...]) -> Sample:
        cpu = None
        if self._cpu_before is not None:
            used = zip(self._cpu_before, self._cpu(), strict=True)
            cpu = tuple(round(max(after - before, 0.0), 2) for before, after in used)
        sample = Sample(
            verdict="unclear",
            done=done,
            operations=self.operations,
            cpu_seconds=cpu,
            status=tuple(_status(pid) for pid in self.counters.pids()),
            exits=exits,
        )
        verdict = supported_verdict(sample, self._waiting)
        return replace(sample, verdict=verdict, said=self._said() if verdict == "unclear" else "")

    def _cpu(self) -> tuple[float, ...]:
        return tuple(_cpu_seconds(pid) for pid in self.counters.pids())


def _cpu_seconds(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return times.user + times.system


def _status(pid: int) -> str:
    try:
        return str(psutil.Process(pid).status()) if pid else "not started"
    except psutil.Error:
        return "gone"
