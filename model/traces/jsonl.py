"""The trace form: what every rank of a real run did, in the model's own operations, with times.

A file of JSON lines: a header, then one line a step. The header says whatever a reader needs to judge the run:
ranks, the loop that they ran, what is declared of the library behind each communicator, and whose clocks agree.
`model.traces.conformance` asks whether the model allows the run; `model.traces.recorded` shows it on a time axis.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from model.program.json_form import from_json, short, to_json
from model.program.ops import Operation

T = TypeVar("T")

FORMAT, VERSION = "ringproof trace", 1

LOOP = ("depth", "ordering", "tp")

FILE = "trace.jsonl"
"""What the trace of a folder is called."""

LATEST = 2**62
"""Nanoseconds; a time is less than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopOf:
    """The serving loop that the ranks ran: its async depth, its ordering by name or vector, the ranks of a stage."""

    depth: int
    ordering: str
    tp: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One step of a rank, in whole nanoseconds of the clock of its rank.

    end: None where the step was not over when the record ends; only the last of a rank. phase, slot: of the loop's
    step; without a loop they say nothing. op: None where the step is the rank's own affair. shared: a collective that
    the step is, or ends in (`tensor_parallel`). answer: what the loop was told. device: when the accelerator began
    and ended the work that the step queued.
    """

    rank: int
    begin: int
    end: int | None
    iteration: int = 0
    phase: str = ""
    slot: int = 0
    op: Operation | None = None
    shared: tuple[Operation, ...] = ()
    answer: bool | None = None
    device: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A recorded run. `records` stand in the order of each rank's steps; ranks may be mixed.

    loop: None for any other program. semantics: the declared library of each communicator, or `*`, by name. queued:
    communicators whose calls return once their work is queued on a device, so that an end says nothing of completion.
    clocks: by rank the name of its clock; times of equal names compare. complete: every rank came to its end. note:
    how the run ended.
    """

    ranks: int
    loop: LoopOf | None
    semantics: Mapping[str, str]
    clocks: tuple[str, ...]
    records: tuple[Record, ...]
    complete: bool
    queued: frozenset[str] = frozenset()
    note: str = ""

    def by_rank(self) -> tuple[tuple[Record, ...], ...]:
        """The records of each rank, in their order."""
        found: list[list[Record]] = [[] for _ in range(self.ranks)]
        for record in self.records:
            found[record.rank].append(record)
        return tuple(map(tuple, found))

    def until(self, time: int) -> Trace:
        """The same run as it stood at `time`: what had not begun is left out, what was not over has no end."""
        kept = (record for record in self.records if record.begin <= time)
        records = tuple(
            record if record.end is not None and record.end <= time else replace(record, end=None) for record in kept
        )
        return replace(self, records=records, complete=False)


def to_lines(trace: Trace) -> Iterator[str]:
    """The lines of a trace's file, without their ends."""
    loop = None if trace.loop is None else {name: getattr(trace.loop, name) for name in LOOP}
    yield json.dumps(
        {
            "format": FORMAT,
            "version": VERSION,
            "unit": "ns",
            "ranks": trace.ranks,
            "loop": loop,
            "semantics": dict(trace.semantics),
            "queued": sorted(trace.queued),
            "clocks": list(trace.clocks),
            "complete": trace.complete,
            "note": trace.note,
            "records": len(trace.records),
        }
    )
    for record in trace.records:
        data = {"rank": record.rank, "iteration": record.iteration, "phase": record.phase, "slot": record.slot}
        given = {"op": None if record.op is None else to_json(record.op), "begin": record.begin, "end": record.end}
        more = {
            "shared": [to_json(op) for op in record.shared] or None,
            "answer": record.answer,
            "device": None if record.device is None else list(record.device),
        }
        yield json.dumps({**data, **{key: value for key, value in {**given, **more}.items() if value is not None}})


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
    trace, count = _at(1, _header, next(numbered, (1, ""))[1])
    records = tuple(_at(number, lambda line: _record(line, trace.ranks), line) for number, line in numbered)
    if len(records) != count:
        cut = "the file was cut short; copy it again" if len(records) < count else "the header does not belong to it"
        raise ValueError(f"line {len(records) + 1}: {count} records are promised and {len(records)} there: {cut}")
    return replace(trace, records=records)


def _at(number: int, parse: Callable[[str], T], line: str) -> T:
    try:
        return parse(line)
    except RecursionError:
        raise ValueError(f"line {number}: nested too deeply; a trace has one flat object a line") from None
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from None


def _object(line: str) -> dict[str, Any]:
    try:
        data = json.loads(line, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON ({error.msg}); the file was cut short, or is no trace") from None
    if not isinstance(data, dict):
        raise ValueError(f"{short(data)} stands where an object is expected")
    return data


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _header(line: str) -> tuple[Trace, int]:
    data = _object(line)
    if data.get("format") != FORMAT:
        raise ValueError(f"format is {short(data.get('format'))}; a trace begins with its header, format {FORMAT!r}")
    if data.get("version") != VERSION or isinstance(data["version"], bool):
        raise ValueError(f"version is {short(data.get('version'))}; this reader knows version {VERSION}")
    fields = "format version unit ranks loop semantics queued clocks complete note records"
    _known(data, fields)
    if missing := set(fields.split()) - set(data):
        raise ValueError(f"the header has no {', '.join(sorted(missing))}")
    if data["unit"] != "ns":
        raise ValueError(f"unit is {short(data['unit'])}; times are in 'ns'")
    clocks, queued, semantics = data["clocks"], data["queued"], data["semantics"]
    ranks, count = _whole(data, "ranks", least=1), _whole(data, "records")
    if not _texts(clocks) or len(clocks) != ranks:
        raise ValueError(f"clocks is {short(clocks)}; give the name of a clock for each of {ranks} ranks")
    if not _texts(queued):
        raise ValueError(f"queued is {short(queued)}; give a list of communicators")
    if not isinstance(semantics, dict) or not semantics or not _texts(list(semantics.values())):
        raise ValueError(f"semantics is {short(semantics)}; give the name of a library for each communicator")
    if not isinstance(data["complete"], bool) or not isinstance(data["note"], str):
        raise ValueError("complete is true or false, and note a text")
    trace = Trace(
        ranks=ranks,
        loop=None if data["loop"] is None else _loop(data["loop"]),
        semantics=semantics,
        clocks=tuple(clocks),
        records=(),
        complete=data["complete"],
        queued=frozenset(queued),
        note=data["note"],
    )
    return trace, count


def _loop(data: Any) -> LoopOf:
    if not isinstance(data, dict) or set(data) != set(LOOP) or not isinstance(data["ordering"], str):
        raise ValueError(f"loop is {short(data)}; give null, or its {', '.join(LOOP)}")
    return LoopOf(depth=_whole(data, "depth"), ordering=data["ordering"], tp=_whole(data, "tp", least=1))


def _record(line: str, ranks: int) -> Record:
    data = _object(line)
    _known(data, "rank iteration phase slot op shared begin end answer device")
    rank = _whole(data, "rank")
    if rank >= ranks:
        raise ValueError(f"there is no rank {rank}; ranks are 0 to {ranks - 1}")
    phase, answer, device = data.get("phase", ""), data.get("answer"), data.get("device")
    shared = data.get("shared", [])
    if not isinstance(shared, list):
        raise ValueError(f"shared is {short(shared)}; give a list of operations")
    if not isinstance(phase, str):
        raise ValueError(f"phase is {short(phase)}; give a text")
    if not (answer is None or isinstance(answer, bool)):
        raise ValueError(f"answer is {short(answer)}; give true or false, or leave it out")
    if device is not None:
        if not isinstance(device, list) or len(device) != 2:
            raise ValueError(f"device is {short(device)}; give its begin and its end")
        times = dict(zip(("begin", "end"), device, strict=True))
        device = _whole(times, "begin", below=LATEST), _whole(times, "end", below=LATEST)
    return Record(
        rank=rank,
        begin=_whole(data, "begin", below=LATEST),
        end=None if data.get("end") is None else _whole(data, "end", below=LATEST),
        iteration=_whole({"iteration": 0, **data}, "iteration"),
        phase=phase,
        slot=_whole({"slot": 0, **data}, "slot"),
        op=None if data.get("op") is None else from_json(data["op"]),
        shared=tuple(map(from_json, shared)),
        answer=answer,
        device=device,
    )


def _known(data: Mapping[str, Any], fields: str) -> None:
    if unknown := set(data) - set(fields.split()):
        raise ValueError(f"unknown field {short(min(unknown))}; it has {', '.join(fields.split())}")


def _whole(data: Mapping[str, Any], name: str, *, least: int = 0, below: int = LATEST) -> int:
    value = data.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < below:
        raise ValueError(f"{name} is {short(value)}; give a whole number from {least} to less than {below}")
    return value


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
