"""How long tests wait. A limit is given for a machine that has nothing else to do, and stretches with its load.

No test asserts how long something takes: a limit only ends a wait that would not end by itself.
"""

import os
import time
from collections.abc import Callable

FACTOR = "RINGPROOF_TEST_PATIENCE"
"""Environment variable: every limit is multiplied by this number, too."""

STEPS, STEPS_TAKE_S = 100_000, 0.02
"""A piece of work, and the seconds that it takes where nothing else runs."""
USUAL_LOAD = 2.0
"""Processes for each core that want to run. The suite by itself makes as many."""
MOST = 60.0
LOOK_AGAIN_S = 5.0

_seen = (-LOOK_AGAIN_S, 1.0)


def strain() -> float:
    """How many times slower than an idle machine this one is now: 1 to MOST. Looks again after some seconds."""
    global _seen
    now = time.monotonic()
    if now - _seen[0] >= LOOK_AGAIN_S:
        _seen = now, min(max(1.0, _load(), _pace()), MOST)
    return _seen[1]


def stretch(seconds: float) -> float:
    """A limit of so many seconds on an idle machine, for this one as it is now."""
    return seconds * strain() * float(os.environ.get(FACTOR, 1))


def wait_until(condition: Callable[[], object], seconds: float = 30.0, *, what: str = "it never came about") -> None:
    """Returns once the condition holds. Raises AssertionError with `what` after so many seconds of an idle machine:
    each time between two looks counts by the load that was on the machine then."""
    left, before = seconds, time.monotonic()
    while not condition():
        assert left > 0, what
        time.sleep(0.02)
        now = time.monotonic()
        left -= (now - before) / stretch(1.0)
        before = now


def _load() -> float:
    """By the last minute's load; it knows of processes that start and end all the time."""
    return os.getloadavg()[0] / (os.cpu_count() or 1) / USUAL_LOAD


def _pace() -> float:
    """By a piece of work done now; it knows of slow cores and of a share of a core."""
    began, total = time.perf_counter(), 0
    for number in range(STEPS):
        total += number * number
    return (time.perf_counter() - began) / STEPS_TAKE_S
