"""When the pipeline stands still: who waits for whom. And the errors that say so, as values.

The watchdog looks at the board only, so it needs nothing from the ranks that it suspects.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence

from tabulate import tabulate

from model.pipelines.serving import Phase
from reference.verification.status_board import END, PREPARING, Board, Position


class PipelineStuck(RuntimeError):
    """Ranks made no progress for `seconds`. Prints as a table.

    circuit: the ranks that wait for each other, each for the next and the last for the first; empty where
    there is no such circuit, and then somebody is slow. positions: where every rank was. still: the ranks that made
    no progress, all unless said. stopped: ranks whose process the system had suspended. silent: ranks of other hosts
    of which nothing is heard.
    """

    def __init__(
        self,
        *,
        positions: Sequence[Position],
        seconds: float,
        now: float,
        still: Collection[int] | None = None,
        stopped: Collection[int] = (),
        silent: Collection[int] = (),
    ) -> None:
        self.positions = tuple(positions)
        self.seconds = seconds
        self.now = now
        ranks = {item.rank for item in self.positions}
        self.still = frozenset(ranks if still is None else still)
        self.stopped = frozenset(stopped)
        self.silent = frozenset(silent)
        self.circuit = find_circuit(self.positions, leave_out=(ranks - self.still) | self.stopped | self.silent)
        super().__init__(self.positions, seconds)

    def __str__(self) -> str:
        some = "no rank made" if len(self.still) == len(self.positions) else f"rank {_listed(self.still)} made no"
        return "\n".join(
            [
                f"{some} progress for {self.seconds:g} s: {self._cause()}",
                table(self.positions, self.now),
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
        busy = [item for item in self.positions if item.rank in self.still and not item.waits_for]
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
        if any(item.phase in PREPARING for item in self.positions):
            return "raise start_timeout, or read the checkpoint from a faster disk"
        return "raise the watchdog's time, or give the ranks less to do at once (max_batch, the prompts)"


class RankDied(RuntimeError):
    """A process of the pipeline ended by itself. `exitcode` is negative for a signal; `reason` is what it said."""

    def __init__(self, *, rank: int, exitcode: int | None, position: Position, reason: str = "") -> None:
        self.rank, self.exitcode, self.position, self.reason = rank, exitcode, position, reason
        super().__init__(rank, exitcode, position, reason)

    def __str__(self) -> str:
        how = "failed"
        if self.exitcode is not None:
            how = f"was ended by signal {-self.exitcode}" if self.exitcode < 0 else f"ended with status {self.exitcode}"
        at = f"in iteration {self.position.iteration} at: {self.position.phase} {self.position.op}".rstrip()
        why = f"\n{self.reason.strip()}" if self.reason else ""
        return f"rank {self.rank} {how} {at}; the other ranks were ended too: start again{why}"


class Watchdog:
    """Tells when a pipeline, or a rank of it, stands still: also idle ranks hear of each other all the time.

    limit, start_limit: seconds without progress in the loop, and before it. Time is what the watcher itself
    saw pass, `glance` seconds at most from one look to the next, so that a suspended watcher accuses nobody.
    """

    def __init__(self, board: Board, *, limit: float, start_limit: float, glance: float) -> None:
        self._board = board
        self._limit = limit
        self._start_limit = start_limit
        self._glance = glance
        self._seen = (-1,) * board.ranks
        self._looked: float | None = None
        self._quiet = [0.0] * board.ranks
        self._preparing = True

    def look(self, now: float) -> bool:
        """Whether a rank has stood still for too long."""
        passed = 0.0 if self._looked is None else min(now - self._looked, self._glance)
        self._looked = now
        seen = self._board.progress()
        moved = [ours != before for ours, before in zip(seen, self._seen, strict=True)]
        preparing, self._preparing = self._preparing, self._prepares()
        if (preparing or self._preparing) and any(moved):  # those that are ready may wait long for those that are not
            moved = [True] * len(moved)
        self._quiet = [0.0 if moves else quiet + passed for moves, quiet in zip(moved, self._quiet, strict=True)]
        self._seen = seen
        return self.quiet >= self.limit

    @property
    def quiet(self) -> float:
        """Seconds for which the rank that has stood still for the longest has made no progress."""
        return max(self._quiet[rank] for rank in self._watched())

    @property
    def still(self) -> list[int]:
        """The ranks that stand still, once one has for too long: they do not all come to it at the same moment."""
        return [rank for rank in self._watched() if self._quiet[rank] >= self.limit / 2]

    def _watched(self) -> list[int]:
        """The ranks that are not at their end; all, if all are."""
        going = [item.rank for item in self._board.positions() if item.phase != END]
        return going or list(range(self._board.ranks))

    @property
    def limit(self) -> float:
        """The bound that holds now."""
        return self._start_limit if self._prepares() else self._limit

    def _prepares(self) -> bool:
        return any(item.phase in PREPARING for item in self._board.positions())


def find_circuit(positions: Sequence[Position], leave_out: Collection[int] = ()) -> tuple[int, ...]:
    """The ranks of a shortest wait-for circuit through the lowest rank that is in one; empty if there is none."""
    waits = {item.rank: item.waits_for for item in positions if item.rank not in leave_out}
    for start in sorted(waits):
        paths: deque[tuple[int, ...]] = deque([(start,)])
        seen: set[int] = set()
        while paths:
            path = paths.popleft()
            for rank in waits.get(path[-1], ()):
                if rank == start:
                    return path
                if rank not in seen:
                    seen.add(rank)
                    paths.append((*path, rank))
    return ()


def table(positions: Sequence[Position], now: float) -> str:
    """The positions for people, one line a rank."""
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
        for item in positions
    ]
    return tabulate(rows, headers=headers)


def _listed(ranks: object) -> str:
    return ", ".join(str(rank) for rank in sorted(ranks))  # type: ignore[call-overload]
