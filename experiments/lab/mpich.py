"""Process groups on MPICH, each under an mpiexec of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil

from experiments.lab.hang_detector import Waiting
from experiments.lab.harness import last_line
from experiments.records.paths import ROOT

GRACE_S = 10.0


class MpichGroup:
    """An mpiexec and its ranks. It tells one exit status for all of them."""

    def __init__(self, launcher: subprocess.Popen[bytes], *, ranks: int, errors: Path) -> None:
        self._launcher, self._ranks, self._errors = launcher, ranks, errors

    def exits(self) -> Sequence[int | None]:
        return [self._launcher.poll()] * self._ranks

    def said(self) -> str:
        return last_line(self._errors)

    def end(self, *, finished: bool) -> None:
        processes = [] if self._launcher.poll() is not None else [psutil.Process(self._launcher.pid)]
        family = [child for process in processes for child in process.children(recursive=True)]
        if not finished:
            _kill(family, spare="hydra")
        try:
            # mpiexec notices, and collects its ranks; a finished group goes through MPI_Finalize meanwhile
            self._launcher.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            _kill([*family, *processes])
            self._launcher.wait()


def _kill(processes: Iterable[psutil.Process], *, spare: str | None = None) -> None:
    """Kill what still runs, but not a process whose name begins with `spare`."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if spare is None or not process.name().startswith(spare):
                process.kill()


class MpichLauncher:
    """Starts groups on MPICH. Raises ValueError where it is not installed."""

    waiting: tuple[Waiting, ...] = ("polling",)
    ranks_in_flight = 8
    longest_job = 100  # a group costs a second, a probe that passes a few milliseconds

    def __init__(self) -> None:
        self._mpiexec = Path(sysconfig.get_path("scripts")) / "mpiexec"
        if importlib.util.find_spec("mpi4py") is None or not self._mpiexec.exists():
            raise ValueError("mpi4py or MPICH is not installed; run `pip install mpi4py mpich`")

    def launch(self, *, job: Path, counters: Path, ranks: int, folder: Path) -> MpichGroup:
        errors = folder / "stderr"
        with errors.open("wb") as said:
            launcher = subprocess.Popen(
                [
                    *(self._mpiexec, "-launcher", "fork", "-n", str(ranks)),
                    *(sys.executable, "-m", "experiments.lab.mpich_rank", job, counters),
                ],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd=ROOT,
                env={**os.environ, "TMPDIR": str(folder)},
                start_new_session=True,  # Ctrl-C is for the watcher, which ends the group
            )
        return MpichGroup(launcher, ranks=ranks, errors=errors)
