"""How long it takes: simulated runs, rounds for ever, timelines, recorded runs and the space of all orderings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.api.programs import name_of, program_of
from model.verdict.arguments import LibraryLike, ProgramLike, as_lists, as_semantics

if TYPE_CHECKING:
    from model.events.simulator import Simulation
    from model.events.throughput import Period
    from model.events.timing import Timing
    from model.rings.order_space import Space
    from model.semantics.columns import Columns
    from model.traces.conformance import Conformance
    from model.traces.timeline import Timeline
    from model.traces.trace import Trace


def simulate(
    program: ProgramLike,
    library: LibraryLike = "rendezvous",
    *,
    latency: float = 0.0,
    overhead: float = 0.0,
    gap: float = 0.0,
    per_byte: float = 0.0,
) -> Simulation:
    """A run of a program with durations, every rank as fast as its library lets it.

    The durations are LogGP's, in seconds; without any, every transfer takes one tick.

    >>> import model
    >>> model.simulate(model.ring("SRSR")).makespan, model.simulate(model.ring("SRRR")).makespan
    (2, 4)
    """
    from model.events.simulator import simulate as run

    return run(_columns(program, library), _timing(latency, overhead, gap, per_byte))


def period(
    program: ProgramLike,
    library: LibraryLike = "rendezvous",
    *,
    latency: float = 0.0,
    overhead: float = 0.0,
    gap: float = 0.0,
    per_byte: float = 0.0,
) -> Period:
    """How long a round takes where a program is repeated for ever, and the circuit that sets the pace.

    >>> import model
    >>> found = model.period(model.ring("SRRRR"))
    >>> str(found.ticks), found.weight, found.tokens
    ('5', 5, 1)
    """
    from model.events.throughput import period as rounds

    return rounds(_columns(program, library), _timing(latency, overhead, gap, per_byte))


def timeline(
    program: Any,
    library: LibraryLike = "rendezvous",
    *,
    latency: float = 0.0,
    overhead: float = 0.0,
    gap: float = 0.0,
    per_byte: float = 0.0,
    title: str = "",
) -> Timeline:
    """Who does what when: of a program that is simulated, or of a trace that was recorded. Shows itself as a picture.

    >>> import model
    >>> shown = model.timeline(model.ring("SR"))
    >>> [(span.rank, span.kind, span.begin, span.end) for span in shown.spans]
    [(0, 'send', 0, 1), (0, 'receive', 1, 2), (1, 'receive', 0, 1), (1, 'send', 1, 2)]
    """
    from model.traces.timeline import NANOSECOND, Timeline
    from model.traces.trace import Trace

    if isinstance(program, Trace):
        from model.traces.recorded import recorded_spans

        libraries = ", ".join(dict.fromkeys(program.semantics.values()))
        named = title or f"{program.ranks} ranks on {libraries}"
        return Timeline(spans=tuple(recorded_spans(program)), title=named, timing=NANOSECOND, lanes=("host", "device"))
    from model.events.simulator import simulate as run
    from model.semantics.columns import columns_of
    from model.semantics.lowering import lower
    from model.traces.simulated import simulated_spans
    from model.verdict.subject import Subject

    lists = as_lists(program_of(program))
    semantics = as_semantics(library, lists)
    timing = _timing(latency, overhead, gap, per_byte)
    lowered = lower(lists, semantics)
    spans = simulated_spans(lowered, run(columns_of(lowered), timing), timing)
    named = title or str(Subject(program=lists, semantics=semantics, name=name_of(program)))
    return Timeline(spans=tuple(spans), title=named, timing=timing)


def space(ranks: int) -> Space:
    """Of all 2^ranks orderings of a ring under rendezvous: which deadlock, how long a round takes, and the period.

    >>> import model
    >>> found = model.space(6)
    >>> found.orderings, found.deadlocks, found.makespan
    (64, 2, {2: 2, 3: 18, 4: 18, 5: 12, 6: 12})
    """
    from model.rings.order_space import space as orderings

    return orderings(ranks)


def read_trace(path: str | Path) -> Trace:
    """The trace of a file, or of the folder in which an engine recorded one. Raises ValueError where it is none.

    >>> import model
    >>> model.read_trace("absent.jsonl")
    Traceback (most recent call last):
    ValueError: there is no trace 'absent.jsonl'; give a trace in JSON lines, or the folder of a recording
    """
    from model.traces.jsonl import FILE, read

    if not isinstance(path, str | Path):
        raise ValueError(f"a path is expected, and this is {path!r}; give the file of a trace, or its folder")
    file = Path(path) / FILE if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise ValueError(f"there is no trace {str(file)!r}; give a trace in JSON lines, or the folder of a recording")
    return read(file)


def conform(trace: Trace | str | Path) -> Conformance:
    """Whether the model allows a recorded run; the trace, its file or its folder.

    >>> import model
    >>> from model.program.ops import Recv, Send
    >>> from model.traces.trace import Trace, TraceEvent
    >>> sent = TraceEvent(rank=0, begin=0, end=9, op=Send(peer=1))
    >>> taken = TraceEvent(rank=1, begin=5, end=9, op=Recv(peer=0))
    >>> run = Trace(ranks=2, loop=None, semantics={"*": "gloo"}, clocks=("a", "a"), events=(sent, taken), complete=True)
    >>> model.conform(run).allowed
    True
    """
    from model.traces.conformance import conform as hold
    from model.traces.trace import Trace

    return hold(trace if isinstance(trace, Trace) else read_trace(trace))


def _timing(latency: float, overhead: float, gap: float, per_byte: float) -> Timing:
    from model.events.timing import UNIT, loggp

    if (latency, overhead, gap, per_byte) == (0.0, 0.0, 0.0, 0.0):
        return UNIT
    return loggp(latency=latency, overhead=overhead, gap=gap, per_byte=per_byte)


def _columns(program: Any, library: LibraryLike) -> Columns:
    from model.semantics.columns import columns_of
    from model.semantics.lowering import lower
    from model.semantics.parameters import semantics_of

    made = program_of(program)
    semantics = as_semantics(library, made)
    if isinstance(made, tuple):
        return columns_of(lower(made, semantics))
    from model.semantics.table import columns_of_table

    return columns_of_table(made, semantics_of(semantics, "world"))
