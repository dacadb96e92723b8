"""The processes of one pipeline, seen from the engine: started, heard, and ended when one dies or all stand still.

Only one thread may touch the processes (their exit status can be read once), so all of it happens in `listen`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing import connection
from multiprocessing.connection import Connection
from typing import Any

import psutil

from model.pipelines.serving import OUTPUT, PROXY, REQUESTS
from reference.checkpoint.loader import Checkpoint
from reference.config import EngineConfig
from reference.ranks import ipc, processes, worker
from reference.ranks.multi_node import SILENT_AFTER, RemoteRanks, run_follower
from reference.ranks.torchrun import RankInfo, single_host
from reference.ranks.worker import RankSpec
from reference.transport.rendezvous import listen_locally
from reference.transport.shared_memory import make_rings
from reference.verification.status_board import StatusBoard
from reference.verification.watchdog import PipelineStalled, RankDied, Watchdog

POLL_SECONDS = 0.25
"""Seconds between two looks at the board."""

LATE_FAILURE_SECONDS = 1.0
"""Seconds in which the others may still say what they saw when a rank fails: the first to speak may be a victim."""


def start(job: RankInfo | None, *, config: EngineConfig, ordering: str, checkpoint: Checkpoint) -> RankSupervisor:
    """The ranks of a pipeline: all of them, on this host, or in a job of a launcher's the one of this process.

    Returns on rank 0 only: in a job's other processes it serves, and exits.
    """

    shared = config.control == "shared" and job is None
    tags = (REQUESTS, PROXY, OUTPUT) if config.transport == "shared" else (REQUESTS,)
    rings = make_rings(processes.context(), stages=config.pp, tp=config.tp, tags=tags) if shared else None

    def spec(info: RankInfo, port: int | None = None) -> RankSpec:
        return RankSpec(
            rank=info.rank,
            config=config,
            ordering=ordering,
            checkpoint=checkpoint,
            info=info,
            store_port=port,
            rings=None if rings is None else rings[info.rank],
        )

    if job is None:
        store, port = listen_locally()
        infos = [single_host(rank, config.ranks) for rank in range(config.ranks)]
        return RankSupervisor([spec(info, port) for info in infos], store=store)
    if job.rank > 0:
        run_follower(spec(job), job)
    processes.end_with_launcher()
    return RankSupervisor([spec(job)], job=job)


class RankSupervisor:
    """The processes of the ranks, started by `__init__`, gone when `listen` ends.

    job: in a job of a launcher, whose other processes are the other ranks, what this process is; it starts rank 0 only.
    """

    def __init__(self, specs: Sequence[RankSpec], *, job: RankInfo | None = None, store: Any = None) -> None:
        self._store = store  # kept until the end: the ranks find each other through it
        config, context = specs[0].config, processes.context()
        self._board = StatusBoard(context, config.ranks)
        self._remote = RemoteRanks(job, config, self._board) if job is not None else None
        self._watchdog = Watchdog(
            self._board, limit=config.watchdog, start_limit=config.start_timeout, max_gap=2 * POLL_SECONDS
        )
        self._pipes: dict[int, Connection] = {}
        self._failures: dict[int, dict[str, str]] = {}
        self._wake, self._waker = context.Pipe(duplex=False)
        self._processes = []
        try:
            with processes.block_sigint():
                for spec in specs:
                    ours, theirs = context.Pipe()
                    process = context.Process(
                        target=worker.main, args=(spec, self._board, theirs), name=f"rank {spec.rank}", daemon=True
                    )
                    self._pipes[spec.rank] = ours
                    process.start()
                    self._processes.append(process)
                    theirs.close()
        except BaseException:  # an interrupt, or the system has no room for one more
            processes.end(self._processes)
            raise
        self._front = self._pipes[0]

    @property
    def pids(self) -> tuple[int, ...]:
        """The process of each rank."""
        return tuple(process.pid or 0 for process in self._processes)

    @property
    def idle_seconds(self) -> float:
        """As of `Watchdog`."""
        return self._watchdog.idle_seconds

    def send(self, data: bytes) -> None:
        """Sends to rank 0; OSError once it is gone. One thread at a time."""
        self._front.send_bytes(data)

    def quit(self) -> None:
        """Makes `listen` end every process now; any thread may ask for it."""
        with suppress(OSError):  # it has ended already
            self._waker.send_bytes(b"quit")

    def listen(self) -> Iterator[tuple[int, str, Any]]:
        """What the ranks say, as (rank, key, value), until all have ended.

        Raises PipelineStalled, RankDied, or ValueError for a mistake of the user's that a rank found. However
        it ends, every process has ended before.
        """
        try:
            while self._pipes or self._sentinels() or (self._remote is not None and not self._remote.ended):
                sources: list[Any] = [*self._pipes.values(), *self._sentinels(), self._wake]
                ready = connection.wait(sources, timeout=POLL_SECONDS)
                if self._wake in ready:
                    return
                yield from self._receive(ready)
                yield from self._receive_remote()
                if self._failures or any(process.exitcode for process in self._processes):
                    yield from self._collect_late_failures()
                    raise self._failure()
                if self._watchdog.check(time.monotonic()):
                    raise self._stalled()
        finally:
            if self._remote is not None:
                self._remote.end()
            processes.end(self._processes)
            for pipe in (*self._pipes.values(), self._wake):
                pipe.close()

    def _sentinels(self) -> list[int]:
        return [process.sentinel for process in self._processes if process.exitcode is None]

    def _receive(self, ready: Sequence[object]) -> Iterator[tuple[int, str, Any]]:
        for rank, pipe in list(self._pipes.items()):
            if pipe not in ready:
                continue
            try:
                key, value = ipc.recv_message(pipe)
            except (EOFError, OSError):
                del self._pipes[rank]
                pipe.close()
                continue
            if key == ipc.FAILED:
                self._failures[rank] = value
            else:
                yield rank, key, value

    def _receive_remote(self) -> Iterator[tuple[int, str, Any]]:
        if self._remote is None:
            return
        try:
            for rank, key, value in self._remote.poll(time.monotonic()):
                if key == ipc.FAILED:
                    self._failures[rank] = value
                else:
                    yield rank, key, value
        except RuntimeError as error:
            raise RuntimeError(f"the meeting point of the nodes is gone ({error}); start again") from None

    def _silent(self) -> frozenset[int]:
        return frozenset() if self._remote is None else self._remote.silent(time.monotonic()) - set(self._failures)

    def _collect_late_failures(self) -> Iterator[tuple[int, str, Any]]:
        """Hears the others out, until it is clear who is to blame or nobody says anything more."""
        deadline = time.monotonic() + (
            LATE_FAILURE_SECONDS if self._remote is None else SILENT_AFTER + LATE_FAILURE_SECONDS
        )
        while self._root_cause() is None and (left := deadline - time.monotonic()) > 0:
            sources: list[Any] = [*self._pipes.values(), *self._sentinels()]
            if not sources and self._remote is None:
                return
            yield from self._receive(connection.wait(sources, timeout=min(left, POLL_SECONDS)))
            yield from self._receive_remote()

    def _root_cause(self) -> int | None:
        """The rank whose failure is no consequence of another's."""
        for rank, process in enumerate(self._processes):
            if process.exitcode and process.exitcode < 0:
                return rank
        kinds = {rank: failure["kind"] for rank, failure in self._failures.items()}
        silent_ends = {
            rank
            for rank, process in enumerate(self._processes)
            if process.exitcode and rank not in kinds and rank not in self._pipes
        }
        guilty = {rank for rank, kind in kinds.items() if kind != ipc.FailureKind.LOST}
        return min(guilty | silent_ends | self._silent(), default=None)

    def _failure(self) -> Exception:
        rank = self._root_cause()
        if rank is None:
            ended = (rank for rank, process in enumerate(self._processes) if process.exitcode)
            rank = min([*self._failures, *ended])
        silent = self._silent()
        text = f"nothing is heard of rank {', '.join(map(str, sorted(silent)))} any more" if rank in silent else ""
        failure = self._failures.get(rank, {"kind": ipc.FailureKind.CRASH, "text": text})
        if failure["kind"] == ipc.FailureKind.USAGE:
            return ValueError(failure["text"])
        return RankDied(
            rank=rank,
            exitcode=self._processes[rank].exitcode if rank < len(self._processes) else None,
            status=self._board.read(rank),
            reason=failure["text"],
        )

    def _stalled(self) -> PipelineStalled:
        return PipelineStalled(
            statuses=self._board.statuses(),
            seconds=self._watchdog.limit,
            now=time.monotonic(),
            stalled=self._watchdog.stalled,
            stopped=[rank for rank, pid in enumerate(self.pids) if _suspended(pid)],
            silent=self._silent() | (frozenset() if self._remote is None else self._remote.unheard),
        )


def _suspended(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False
