"""A measurement in a process of its own, so that no other one's memory, threads or compiled code are in its way."""

from __future__ import annotations

import importlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from experiments.records.paths import ROOT

Work = Callable[..., Mapping[str, Any]]
"""Does the work once, and gives what it found as plain JSON types."""


def run_in_fresh_process(work: str, arguments: Mapping[str, Any], *, limit_s: float | None = None) -> dict[str, Any]:
    """What `module:function`, called with those keywords in a fresh process, found; and its `seconds` and `peak_gib`.

    Raises ValueError where it fails, with the last line that it said, or takes longer than `limit_s`.
    """
    command = [sys.executable, "-m", "experiments.records.fresh_process", work, json.dumps(arguments)]
    try:
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit_s)
    except subprocess.TimeoutExpired:
        raise ValueError(f"{work} took longer than {limit_s:.0f} s and was ended; give it more time") from None
    if ran.returncode:
        print(ran.stderr, file=sys.stderr, flush=True)
        raise ValueError(f"{work} failed: {(ran.stderr.strip().splitlines() or ['no message'])[-1]}")
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def _inside(work: str, arguments: str) -> dict[str, Any]:
    """What the fresh process does; work that measures `seconds` itself keeps its own."""
    module, name = work.split(":")
    function: Work = getattr(importlib.import_module(module), name)
    began = time.perf_counter()
    found = function(**json.loads(arguments))
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB, on macOS bytes
    return {"seconds": seconds, "peak_gib": peak / (2**20 if sys.platform != "darwin" else 2**30), **found}


if __name__ == "__main__":
    print(json.dumps(_inside(*sys.argv[1:])))
