"""When the pipeline stands still: who waits for whom. And the errors that say so, as values.

The watchdog looks at the board only, so it needs nothing from the ranks that it suspects.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tabulate import tabulate

from model.pipelines.serving import Phase
from model.verdict.circuit import shortest_circuit
from reference.verification.status_board import PHASE_END, PREPARING, RankStatus, StatusBoard


class PipelineStalled(RuntimeError):
    """Ranks made no progress for `seconds`. Prints as a table.

    circuit: the ranks that wait for each other, each for the next and the last for the first; empty where
    there is no such circuit, and then somebody is slow. statuses: where every rank was. stalled: the ranks that made
    no progress, all unless said. stopped: ranks whose process the system had suspended. silent: ranks of other hosts
    of which nothing is heard.
    """

    def __init__(
        self,
        *,
        statuses: Sequence[RankStatus],
        seconds: float,
        now: float,
        stalled: Collection[int] | None = None,
        stopped: Collection[int] = (),
        silent: Collection[int] = (),
    ) -> None:
        self.statuses = tuple(statuses)
        self.seconds = seconds
        self.now = now
        ranks = {item.rank for item in self.statuses}
        self.stalled = frozenset(ranks if stalled is None else stalled)
        self.stopped = frozenset(stopped)
        self.silent = frozenset(silent)
        self.circuit = find_circuit(self.statuses, leave_out=(ranks - self.stalled) | self.stopped | self.silent)
        super().__init__(self.statuses, seconds)

    def __str__(self) -> str:
        some = "no rank made" if len(self.stalled) == len(self.statuses) else f"rank {_listed(self.stalled)} made no"
        return "\n".join(
            [
                f"{some} progress for {self.seconds:g} s: {self._cause()}",
                status_table(self.statuses, self.now),
                f"what to do: {self._remedy()}",
            ]
        )

    def _cause(self) -> str:
        if self.circuit:
            return f"deadlock, rank {' -> rank '.join(map(str, (*self.circuit, self.circuit[0])))} wait for each other"
        if self.stopped:
            return f"the process of rank {_listed(self.stopped)} is suspended"
        if self.silent:
            return f"nothing is heard of rank {_listed(self.silent)}: never started, suspended, or out of reach"
        busy = [item for item in self.statuses if item.rank in self.stalled and not item.waits_for]
        if busy:
            return f"rank {_listed(item.rank for item in busy)} is slow, not stuck, in: {busy[0].phase}"
        return "the ranks wait for each other's messages, but in no circuit"

    def _remedy(self) -> str:
        if self.circuit:
            return "choose another ordering (the preflight tells which are free of deadlock)"
        if self.stopped:
            return "let the process continue, and start again"
        if self.silent:
            return "look at its node and at the network between, and start again"
        if any(item.phase in PREPARING for item in self.statuses):
            return "raise start_timeout, or read the checkpoint from a faster disk"
        return "raise the watchdog's time, or give the ranks less to do at once (max_batch, the prompts)"


class RankDied(RuntimeError):
    """A process of the pipeline ended by itself. `exitcode` is negative for a signal; `reason` is what it said."""

    def __init__(self, *, rank: int, exitcode: int | None, status: RankStatus, reason: str = "") -> None:
        self.rank, self.exitcode, self.status, self.reason = rank, exitcode, status, reason
        super().__init__(rank, exitcode, status, reason)

    def __str__(self) -> str:
        how = "failed"
        if self.exitcode is not None:
            how = f"was ended by signal {-self.exitcode}" if self.exitcode < 0 else f"ended with status {self.exitcode}"
        at = f"in iteration {self.status.iteration} at: {self.status.phase} {self.status.op}".rstrip()
        why = f"\n{self.reason.strip()}" if self.reason else ""
        return f"rank {self.rank} {how} {at}; the other ranks were ended too: start again{why}"


class Watchdog:
    """Tells when a pipeline, or a rank of it, stands still: also idle ranks hear of each other all the time.

    limit, start_limit: seconds without progress in the loop, and before it. Time is what the watcher itself
    saw pass, `max_gap` seconds at most from one look to the next, so that a suspended watcher accuses nobody.
    """

    def __init__(self, board: StatusBoard, *, limit: float, start_limit: float, max_gap: float) -> None:
        self._board = board
        self._limit = limit
        self._start_limit = start_limit
        self._max_gap = max_gap
        self._seen = (-1,) * board.ranks
        self._checked: float | None = None
        self._idle_seconds = [0.0] * board.ranks
        self._preparing = True

    def check(self, now: float) -> bool:
        """Whether a rank has stood still for too long."""
        passed = 0.0 if self._checked is None else min(now - self._checked, self._max_gap)
        self._checked = now
        seen = self._board.progress()
        moved = [ours != before for ours, before in zip(seen, self._seen, strict=True)]
        preparing, self._preparing = self._preparing, self._prepares()
        if (preparing or self._preparing) and any(moved):  # those that are ready may wait long for those that are not
            moved = [True] * len(moved)
        self._idle_seconds = [
            0.0 if moves else before + passed for moves, before in zip(moved, self._idle_seconds, strict=True)
        ]
        self._seen = seen
        return self.idle_seconds >= self.limit

    @property
    def idle_seconds(self) -> float:
        """Seconds for which the rank that has stood still for the longest has made no progress."""
        return max(self._idle_seconds[rank] for rank in self._watched())

    @property
    def stalled(self) -> list[int]:
        """The ranks that stand still, once one has for too long: they do not all come to it at the same moment."""
        return [rank for rank in self._watched() if self._idle_seconds[rank] >= self.limit / 2]

    def _watched(self) -> list[int]:
        """The ranks that are not at their end; all, if all are."""
        going = [item.rank for item in self._board.statuses() if item.phase != PHASE_END]
        return going or list(range(self._board.ranks))

    @property
    def limit(self) -> float:
        """The bound that holds now."""
        return self._start_limit if self._prepares() else self._limit

    def _prepares(self) -> bool:
        return any(item.phase in PREPARING for item in self._board.statuses())


def find_circuit(statuses: Sequence[RankStatus], leave_out: Collection[int] = ()) -> tuple[int, ...]:
    """The ranks of a shortest wait-for circuit (see `model.verdict.circuit`); empty if there is none."""
    return shortest_circuit({item.rank: item.waits_for for item in statuses if item.rank not in leave_out})


def status_table(statuses: Sequence[RankStatus], now: float) -> str:
    """The statuses for people, one line a rank."""
    headers = ("rank", "phase", "operation", "waits for", "iteration", "slot", "since")
    rows = [
        (
            item.rank,
            item.phase,
            item.op or "-",
            "clients" if item.phase == Phase.POLL else f"rank {_listed(item.waits_for)}" if item.waits_for else "-",
            item.iteration,
            item.slot,
            f"{now - item.since:.1f} s",
        )
        for item in statuses
    ]
    return tabulate(rows, headers=headers)


def _listed(ranks: object) -> str:
    return ", ".join(str(rank) for rank in sorted(ranks))  # type: ignore[call-overload]
