"""Who does what when: the spans of a run, simulated or recorded, as a Chrome trace (`gantt` draws them)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from model.events.timing import Timing
from model.traces.spans import Span


def chrome_trace(spans: Sequence[Span], timing: Timing, lanes: Sequence[str] = ("host",)) -> dict[str, Any]:
    """The spans in the trace event format that Chrome and Perfetto read: a process a rank, a thread a lane.

    lanes: their names; further ones are queues.
    """
    tracks = sorted({(span.rank, span.lane) for span in spans})
    last = max((span.end or span.begin for span in spans), default=0)
    return {
        "displayTimeUnit": "ms",
        "traceEvents": [
            {
                "ph": "X",
                "pid": span.rank,
                "tid": span.lane,
                "name": span.op,
                "cat": span.kind,
                "ts": span.begin * timing.tick * 1e6,
                "dur": ((last if span.end is None else span.end) - span.begin) * timing.tick * 1e6,
                "args": {"kind": span.kind, "stuck": span.end is None},
            }
            for span in spans
        ]
        + [_name("process_name", rank, 0, f"rank {rank}") for rank in sorted({rank for rank, _ in tracks})]
        + [
            _name("thread_name", rank, lane, lanes[lane] if lane < len(lanes) else f"queue {lane}")
            for rank, lane in tracks
        ],
    }


def _name(what: str, rank: int, lane: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "pid": rank, "tid": lane, "name": what, "args": {"name": name}}
