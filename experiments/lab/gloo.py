"""Process groups on torch.distributed with gloo, forked from one server that has torch loaded."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from experiments.lab.hang_detector import Waiting
from experiments.lab.harness import last_line
from experiments.lab.progress import ProgressCounters
from experiments.lab.rank_driver import run_rank
from reference.ranks import processes
from reference.transport.torch_distributed import TorchTransport

LONGER_THAN_ANY_PROBE = timedelta(days=1)


class GlooGroup:
    """The processes of one group."""

    def __init__(self, processes: Sequence[BaseProcess], *, errors: Path) -> None:
        self._processes, self._errors = list(processes), errors

    def exits(self) -> Sequence[int | None]:
        return [process.exitcode for process in self._processes]

    def said(self) -> str:
        return last_line(self._errors)

    def end(self, *, finished: bool) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()
            process.close()
        self._processes = []


class GlooLauncher:
    """Starts groups on gloo. blocking: with an isend that polls until its receive is posted, as on XCCL."""

    longest_job = 6

    def __init__(self, *, blocking: bool = False) -> None:
        self.waiting: tuple[Waiting, ...] = ("asleep", "polling") if blocking else ("asleep",)
        self.ranks_in_flight = 8 if blocking else 32
        self._blocking = blocking
        self._context: Any = processes.context()
        self._store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)

    def launch(self, *, job: Path, counters: Path, ranks: int, folder: Path) -> GlooGroup:
        errors = folder / "stderr"
        group = [
            self._context.Process(
                target=_rank,
                args=(job, counters, rank, ranks, self._store.port, str(folder), self._blocking, errors),
                daemon=True,
            )
            for rank in range(ranks)
        ]
        started: list[BaseProcess] = []
        try:
            with processes.block_sigint():
                for process in group:
                    process.start()
                    started.append(process)
        except BaseException:
            GlooGroup(started, errors=errors).end(finished=False)
            raise
        return GlooGroup(started, errors=errors)


def _rank(
    job: Path, counters: Path, rank: int, ranks: int, port: int, group: str, blocking: bool, errors: Path
) -> None:
    processes.end_with_parent()
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)  # also what C++ says
    torch.set_num_threads(1)
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # the machine's own name may not resolve
    store = dist.TCPStore("127.0.0.1", port, is_master=False)
    dist.init_process_group(
        "gloo",
        store=dist.PrefixStore(group, store),
        rank=rank,
        world_size=ranks,
        timeout=LONGER_THAN_ANY_PROBE,
    )
    world = dist.group.WORLD
    assert world is not None, "init_process_group has just made it"

    def fresh() -> TorchTransport:
        dist.barrier()
        return TorchTransport({"world": world}, blocking=frozenset({"world"}) if blocking else frozenset())

    run_rank(
        job,
        ProgressCounters(counters, ranks),
        rank,
        fresh=fresh,
        buffer=lambda nbytes, byte: torch.full((nbytes,), byte, dtype=torch.uint8),
        equal=torch.equal,
    )
    signal.pause()  # a rank that left would break the connections of those that still work
