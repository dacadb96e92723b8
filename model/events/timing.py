"""Durations: LogGP (latency, overhead, gap, gap per byte) and compute, in whole ticks.

Whole numbers make every engine's makespan the same to the last digit. Source: Alexandrov, Ionescu, Schauser,
Scheiman 1995, after LogP (Culler and others 1993).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.program.numbers import check_duration

TICK = 1e-12
"""Seconds of a tick of `LogGP`: a picosecond, so that 64 bits hold 100 days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What things take, in ticks; every engine reads these and no others.

    A send call holds its rank for `overhead` and then posts its message; a receive call posts at once. A message
    that is stored starts when its room is free, any other when both ends are posted. It arrives `wire` ticks after
    its start, and its receive is over `overhead` after both the arrival and the post. A send that is stored is over
    at its start, any other when the message arrives; an isend that returns on match returns at the start. A rank
    posts no send sooner than `gap + (nbytes - 1) * per_byte` after its last. A batch or a wait is over with the last
    of its messages, a probe `latency` after the send is posted, a barrier with the last arrival. Queues take no time.
    """

    latency: int = 0
    overhead: int = 0
    gap: int = 0
    per_byte: float = 0.0
    tick: float = 1.0
    """Seconds of one tick, for compute and for printing."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            check_duration(field.name, value)
            if field.name == "tick" and value == 0:
                raise ValueError("tick is 0; give a finite number above 0")

    def wire(self, nbytes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Ticks from the start of messages of so many bytes to their arrival: L + (k - 1) G."""
        return self.latency + self._bytes(nbytes)

    def spacing(self, nbytes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Ticks from the post of a send of so many bytes to the next post of its rank: g + (k - 1) G; 0 without gap."""
        return self.gap + self._bytes(nbytes) if self.gap else np.zeros_like(nbytes)

    def ticks(self, seconds: NDArray[np.float64]) -> NDArray[np.int64]:
        """Durations of compute, rounded to whole ticks."""
        return np.rint(seconds / self.tick).astype(np.int64)

    def _bytes(self, nbytes: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.rint(np.maximum(nbytes - 1, 0) * self.per_byte).astype(np.int64)


UNIT = Timing(latency=1)
"""Every transfer takes one tick and nothing else takes any (statements 4 to 6); a second of compute is a tick."""


def loggp(
    *, latency: float = 0.0, overhead: float = 0.0, gap: float = 0.0, per_byte: float = 0.0, tick: float = TICK
) -> Timing:
    """LogGP from seconds (per_byte: seconds per byte), rounded to ticks. Raises ValueError on a negative duration."""
    given: dict[str, Any] = {"latency": latency, "overhead": overhead, "gap": gap}
    for name, value in {**given, "per_byte": per_byte}.items():
        check_duration(name, value, " seconds")
    return Timing(**{name: round(value / tick) for name, value in given.items()}, per_byte=per_byte / tick, tick=tick)
