"""Ranks of a job that torchrun started: rank 0 has the engine, the others follow it, and hear of each other by a store.

Every process publishes, at a low rate, where its rank is and what it has to say; the engine copies that to its board,
so its watchdog sees the ranks of all nodes. What is published is JSON. When the engine ends, or is silent for too long,
the followers end; when one of them fails or falls silent, the engine hears of it and ends the job.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import timedelta
from typing import Any, NoReturn

import torch.distributed as dist

from reference.config import EngineConfig
from reference.ranks import ipc, processes, torchrun, worker
from reference.ranks.torchrun import RankInfo
from reference.ranks.worker import RankSpec
from reference.transport.rendezvous import connect_store
from reference.verification import status_board as phases
from reference.verification.status_board import StatusBoard

PUBLISH_SECONDS = 0.5
"""Seconds between two publications of a rank."""

SILENT_AFTER = 6 * PUBLISH_SECONDS
"""Seconds without any after which a rank counts as gone."""

STORE_TIMEOUT = timedelta(seconds=30)
"""How long the store may take to answer."""

END_KEY, CONFIG_KEY = "end", "config"
"""Keys of the store: that the job is over; what rank 0 was told."""

NODE_LOCAL = frozenset({"device", "threads", "record_logits", "start_timeout"})
"""What may differ between nodes."""


def key_of(rank: int) -> str:
    """The key under which a rank publishes."""
    return f"at/{rank}"


class HeartbeatPublisher:
    """What one rank publishes, from a thread of its own. Takes the place of the pipe to the engine.

    Each publication has a number, so that silence shows; `said` holds all that the rank said so far.
    """

    def __init__(self, info: RankInfo, board: StatusBoard, patience: timedelta) -> None:
        self._rank, self._board = info.rank, board
        self._store = _connect(info, patience)
        self._said: list[Any] = []
        self._beats = 0
        self._lock = threading.Lock()
        self.over = False  # the rank has come to its end

    def send_bytes(self, data: bytes) -> None:
        """Says something (see `reference.ranks.ipc.send_message`)."""
        with self._lock:
            self._said.append(json.loads(data))
        self.publish()

    def publish(self) -> None:
        """Publishes."""
        with self._lock, suppress(RuntimeError):  # a store that is gone: `watch` finds out
            self._beats += 1
            state = {"beat": self._beats, "row": self._board.row_as_dict(self._rank), "said": self._said}
            self._store.set(key_of(self._rank), json.dumps(state))


class RemoteRanks:
    """The ranks of other processes, seen from the engine."""

    def __init__(self, info: RankInfo, config: EngineConfig, board: StatusBoard) -> None:
        self._store = _connect(info, STORE_TIMEOUT, host=True)
        self._board = board
        self._heard: dict[int, int] = dict.fromkeys(range(1, info.ranks), 0)  # how much each has said
        self._beat: dict[int, tuple[int, float]] = {}  # its last one, and when that was seen
        self._own = 0
        self._store.set(CONFIG_KEY, _told(config))

    def poll(self, now: float) -> Iterator[tuple[int, str, Any]]:
        """Copies positions to the board; what is new, as (rank, key, value). Shows that the engine is there."""
        self._own += 1
        self._store.set(key_of(0), json.dumps({"beat": self._own}))
        for rank in self._heard:
            if rank not in self._beat and not self._store.check([key_of(rank)]):
                continue
            state = json.loads(self._store.get(key_of(rank)))
            if state["beat"] != self._beat.get(rank, (0, 0.0))[0]:
                self._beat[rank] = state["beat"], now
                self._board.set_row(rank, state["row"], now)
            for message in state["said"][self._heard[rank] :]:
                self._heard[rank] += 1
                ((key, value),) = message.items()
                yield rank, key, value

    def silent(self, now: float) -> frozenset[int]:
        """Ranks that were heard, have not ended, and have not been heard for `SILENT_AFTER`."""
        return frozenset(
            rank
            for rank, (_, seen) in self._beat.items()
            if now - seen > SILENT_AFTER and self._board.read(rank).phase != phases.PHASE_END
        )

    @property
    def unheard(self) -> frozenset[int]:
        """Ranks of which nothing has been heard so far."""
        return frozenset(self._heard) - set(self._beat)

    @property
    def ended(self) -> bool:
        """Whether every one of these ranks has come to its end."""
        return all(self._board.read(rank).phase == phases.PHASE_END for rank in self._heard)

    def end(self) -> None:
        """Ends the other processes."""
        with suppress(RuntimeError):
            self._store.set(END_KEY, "")


@contextmanager
def report_startup_error() -> Iterator[None]:
    """What keeps a rank other than 0 from following is told to the engine, which would wait for the rank otherwise."""
    try:
        yield
    except Exception as error:
        job = torchrun.rank_info()
        if job is not None and job.rank > 0:
            with suppress(RuntimeError):  # there is nobody to tell
                publisher = HeartbeatPublisher(job, StatusBoard(processes.context(), job.ranks), STORE_TIMEOUT)
                ipc.send_message(
                    publisher, ipc.FAILED, {"kind": ipc.FailureKind.USAGE, "text": f"rank {job.rank}: {error}"}
                )
        raise


def run_follower(spec: RankSpec, info: RankInfo) -> NoReturn:
    """The process of a rank other than 0: serves until the engine ends, and exits; 0 after a stop, else 1."""
    processes.end_with_launcher()
    processes.redirect_stdout()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is the engine that ends the job
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # at once, also in the middle of a collective
    board = StatusBoard(processes.context(), info.ranks)
    try:
        publisher = HeartbeatPublisher(info, board, timedelta(seconds=spec.config.start_timeout))
    except RuntimeError as error:
        _leave(1, f"rank {info.rank}: no meeting point at {info.address}:{info.port} ({error})")
    threading.Thread(target=_watch, args=(info, spec.config, publisher), name="beacon", daemon=True).start()
    try:
        if differs := _differs(info, spec.config):
            ipc.fail(publisher, ipc.FailureKind.USAGE, differs)
        worker.run(spec, board, publisher)
    except SystemExit:
        time.sleep(PUBLISH_SECONDS)  # the engine, which knows more, says why; it also ends the job
        _leave(1)
    publisher.over = True
    publisher.publish()
    _leave(0)


def _watch(info: RankInfo, config: EngineConfig, publisher: HeartbeatPublisher) -> None:
    """Publishes, and ends the process when the engine does."""
    try:
        store = _connect(info, STORE_TIMEOUT)
        last, seen = b"", time.monotonic()
        while not store.check([END_KEY]):
            publisher.publish()
            beat, now = store.get(key_of(0)) if store.check([key_of(0)]) else b"", time.monotonic()
            if beat != last:
                last, seen = beat, now
            if now - seen > (config.watchdog if last else config.start_timeout):
                _leave(1, f"rank {info.rank}: the engine has been silent for {now - seen:.0f} s")
            time.sleep(PUBLISH_SECONDS)
    except RuntimeError as error:
        if not publisher.over:
            _leave(1, f"rank {info.rank}: the meeting point is gone ({str(error).splitlines()[0]})")
    if not publisher.over:
        _leave(1)


def _differs(info: RankInfo, config: EngineConfig) -> str:
    """What this process was told otherwise than rank 0, if anything. Waits for rank 0."""
    theirs = json.loads(_connect(info, timedelta(seconds=config.start_timeout)).get(CONFIG_KEY))
    ours = json.loads(_told(config))
    for name, value in ours.items():
        if value != theirs.get(name):
            told = f"rank {info.rank} was started with {name} {value!r}, rank 0 with {theirs.get(name)!r}"
            return f"{told}; give all nodes the same"
    return ""


def _connect(info: RankInfo, timeout: timedelta, *, host: bool = False) -> dist.Store:
    """A connection to the job's store. host: where no agent has the store, this process does if it is rank 0."""
    is_master = host and info.rank == 0 and not info.agent_has_store
    return connect_store(info.address, info.port, info.prefix, timeout, is_master=is_master)


def _told(config: EngineConfig) -> str:
    plain: Mapping[str, Any] = asdict(config)
    return json.dumps({name: value for name, value in plain.items() if name not in NODE_LOCAL}, default=str)


def _leave(status: int, why: str = "") -> NoReturn:
    """Ends the process at once, whatever its other threads wait for."""
    if why:
        print(why, file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(status)
