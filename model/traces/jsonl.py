"""The file of a trace: JSON lines, first a header, then one line an event.

Version 2. Version 1 is read as well; it says `records` and `shared` where this one says `events` and `collective`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from msgspec import Meta, Struct

from model.program.decoding import convert, decode
from model.program.json_form import from_json, short, to_json
from model.traces.trace import LATEST, LoopSettings, Trace, TraceEvent

T = TypeVar("T")

FORMAT, VERSION = "ringproof trace", 2
READABLE = (1, VERSION)

FILE = "trace.jsonl"
"""What the trace of a folder is called."""

Count = Annotated[int, Meta(ge=0, lt=LATEST)]
Positive = Annotated[int, Meta(ge=1, lt=LATEST)]
Texts = list[str]


class _Loop(Struct, forbid_unknown_fields=True, kw_only=True):
    depth: Count
    ordering: str
    tp: Positive


class _Header(Struct, forbid_unknown_fields=True, kw_only=True):
    format: str
    version: int
    unit: str
    ranks: Positive
    loop: _Loop | None
    semantics: Annotated[dict[str, str], Meta(min_length=1)]
    queued: Texts
    clocks: Texts
    complete: bool
    note: str
    events: Count


class _Line(Struct, forbid_unknown_fields=True, kw_only=True):
    rank: Count
    begin: Count
    end: Count | None = None
    iteration: Count = 0
    phase: str = ""
    slot: Count = 0
    op: Any = None
    collective: list[Any] = []
    shared: list[Any] = []
    answer: bool | None = None
    device: tuple[Count, Count] | None = None


def to_lines(trace: Trace) -> Iterator[str]:
    """The lines of a trace's file, without their ends."""
    yield json.dumps(
        {
            "format": FORMAT,
            "version": VERSION,
            "unit": "ns",
            "ranks": trace.ranks,
            "loop": None if trace.loop is None else asdict(trace.loop),
            "semantics": dict(trace.semantics),
            "queued": sorted(trace.queued),
            "clocks": list(trace.clocks),
            "complete": trace.complete,
            "note": trace.note,
            "events": len(trace.events),
        }
    )
    for event in trace.events:
        always = {"rank": event.rank, "iteration": event.iteration, "phase": event.phase, "slot": event.slot}
        optional = {
            "op": None if event.op is None else to_json(event.op),
            "begin": event.begin,
            "end": event.end,
            "collective": [to_json(op) for op in event.collective] or None,
            "answer": event.answer,
            "device": None if event.device is None else list(event.device),
        }
        yield json.dumps({**always, **{key: value for key, value in optional.items() if value is not None}})


def write(trace: Trace, path: Path) -> None:
    """Writes the file of a trace. Raises OSError."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in to_lines(trace))


def read(path: Path) -> Trace:
    """The trace of a file. Raises ValueError, naming the line, on whatever is not one, and OSError."""
    try:
        with path.open(encoding="utf-8") as file:
            return from_lines(file)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name}: not UTF-8 text (byte {error.start}); give a trace in JSON lines") from None
    except ValueError as error:
        raise ValueError(f"{path.name}, {error}") from None


def from_lines(lines: Iterable[str]) -> Trace:
    """The trace of its lines. Raises ValueError, naming the line, on whatever is not one."""
    numbered = enumerate(lines, start=1)
    trace, count = _numbered(1, _header, next(numbered, (1, ""))[1])
    events = tuple(_numbered(number, lambda line: _event(line, trace.ranks), line) for number, line in numbered)
    if len(events) != count:
        cut = "the file was cut short; copy it again" if len(events) < count else "the header does not belong to it"
        raise ValueError(f"line {len(events) + 1}: {count} events are promised and {len(events)} there: {cut}")
    return replace(trace, events=events)


def _numbered(number: int, parse: Callable[[str], T], line: str) -> T:
    try:
        return parse(line)
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from None


def _header(line: str) -> tuple[Trace, int]:
    data = decode(line, dict[str, Any])
    if data.get("format") != FORMAT:
        raise ValueError(f"format is {short(data.get('format'))}; a trace begins with its header, format {FORMAT!r}")
    if data.get("version") not in READABLE or isinstance(data["version"], bool):
        known = " and ".join(map(str, READABLE))
        raise ValueError(f"version is {short(data.get('version'))}; this reader knows versions {known}")
    if data["version"] == 1 and "records" in data:
        data["events"] = data.pop("records")
    header = convert(data, _Header)
    if header.unit != "ns":
        raise ValueError(f"unit is {short(header.unit)}; times are in 'ns'")
    if len(header.clocks) != header.ranks:
        raise ValueError(f"clocks is {short(header.clocks)}; give the name of a clock for each of {header.ranks} ranks")
    loop = header.loop
    trace = Trace(
        ranks=header.ranks,
        loop=None if loop is None else LoopSettings(depth=loop.depth, ordering=loop.ordering, tp=loop.tp),
        semantics=header.semantics,
        clocks=tuple(header.clocks),
        events=(),
        complete=header.complete,
        queued=frozenset(header.queued),
        note=header.note,
    )
    return trace, header.events


def _event(line: str, ranks: int) -> TraceEvent:
    event = decode(line, _Line)
    if event.rank >= ranks:
        raise ValueError(f"there is no rank {event.rank}; ranks are 0 to {ranks - 1}")
    return TraceEvent(
        rank=event.rank,
        begin=event.begin,
        end=event.end,
        iteration=event.iteration,
        phase=event.phase,
        slot=event.slot,
        op=None if event.op is None else from_json(event.op),
        collective=tuple(map(from_json, event.collective or event.shared)),
        answer=event.answer,
        device=event.device,
    )
