"""The pipeline schedules of torch that are taken, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A schedule class of torch. stages: of each rank, 1 where it takes one. fold: stages go up the ranks and back."""

    name: str
    type: str
    stages: int = 1
    fold: bool = False


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(name="gpipe", type="ScheduleGPipe"),
        Kind(name="1f1b", type="Schedule1F1B"),
        Kind(name="interleaved-1f1b", type="ScheduleInterleaved1F1B", stages=2),
        Kind(name="looped-bfs", type="ScheduleLoopedBFS", stages=2),
        Kind(name="interleaved-zero-bubble", type="ScheduleInterleavedZeroBubble", stages=2),
        Kind(name="zbv", type="ScheduleZBVZeroBubble", stages=2, fold=True),
        Kind(name="dualpipe-v", type="ScheduleDualPipeV", stages=2, fold=True),
    )
}
