"""Which orders of sends and receives hang, on which library, why, and what cures them. Never imports torch.

    import model

    model.check("0: send(1); recv(1)\\n1: send(0); recv(0)", "nccl")   # a verdict with its evidence
    model.diagnose(model.ring("SSSS"), "rendezvous")                    # who waits for whom, by what it hangs, a cure
    model.timeline(model.ring("SRRR"))                                  # who does what when

A program is given as text (one line a rank), as a file, as lists of operations or of their texts, as JSON, as a table,
or as a schedule object of `torch.distributed.pipelining`; a library by name, as an object, or as one for each
communicator: `{"control": "gloo", "data": "nccl"}`. Results print as tables, show themselves in Jupyter, and become
data frames by `to_frame()`.

    programs    read_program ring serving pipeline synthesise
    verdicts    check compare diagnose cure draw
    durations   simulate period timeline space
    recordings  read_trace conform
    names       libraries library orderings vectors

Every name is loaded when it is first used. The rooms below say more: `model.program` what a program is,
`model.semantics` what a library makes of it, `model.states` and `model.events` the engines, `model.verdict` the door.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.api.names import libraries, library, orderings, vectors
    from model.api.programs import pipeline, read_program, ring, serving, synthesise
    from model.api.times import conform, period, read_trace, simulate, space, timeline
    from model.api.verdicts import check, compare, cure, diagnose, draw
    from model.verdict.result import Result

_ROOMS = {
    "model.api.names": ("libraries", "library", "orderings", "vectors"),
    "model.api.programs": ("pipeline", "read_program", "ring", "serving", "synthesise"),
    "model.api.times": ("conform", "period", "read_trace", "simulate", "space", "timeline"),
    "model.api.verdicts": ("check", "compare", "cure", "diagnose", "draw"),
    "model.verdict.result": ("Result",),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "Result",
    "check",
    "compare",
    "conform",
    "cure",
    "diagnose",
    "draw",
    "libraries",
    "library",
    "orderings",
    "period",
    "pipeline",
    "read_program",
    "read_trace",
    "ring",
    "serving",
    "simulate",
    "space",
    "synthesise",
    "timeline",
    "vectors",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'model' has no {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(_ROOM_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
