"""The folder of a recorded run, seen from the engine: what the ranks left in it, put together as one trace.

The header is written before the ranks start, so that their rows can be put together whoever is left to do it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from model.program.json_form import from_json
from model.program.ops import Batch, Isend, Operation
from model.traces import jsonl as trace
from model.traces.trace import Trace, TraceEvent
from reference.verification.trace_writer import (
    BEGIN_FIELDS,
    DEVICE_FIELDS,
    END_FIELDS,
    KINDS_FILE,
    NOTHING,
    ROW_BYTES,
    ROWS_FILE,
)

HEADER = "header.jsonl"
"""The trace without its events."""


def prepare_folder(folder: Path, header: Trace) -> None:
    """Makes the folder ready for a run: an older one's files go. Raises ValueError where it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in (*folder.glob(ROWS_FILE.format("*")), *folder.glob(KINDS_FILE.format("*")), folder / trace.FILE):
            old.unlink(missing_ok=True)
        trace.write(replace(header, events=()), folder / HEADER)
    except OSError as error:
        raise ValueError(f"trace: cannot write to {folder} ({error.strerror}); give a folder of your own") from None


def merge(folder: Path, note: str = "") -> Path:
    """Writes the trace of what the ranks recorded, and gives its path. note: how the run ended.

    Raises OSError, and ValueError where the folder holds no recording.
    """
    header = trace.read(folder / HEADER)
    events: list[TraceEvent] = []
    clocks, whole, until = list(header.clocks), True, list[int]()
    for rank in range(header.ranks):
        said = _said(folder / KINDS_FILE.format(rank))
        first = next(said, {})
        clocks[rank] = str(first.get("clock", header.clocks[rank]))
        kinds = list(said)
        until += [int(line["at"]) for line in kinds if "stopped" in line]
        whole = whole and any("rows" in line for line in kinds)
        events += _rows(folder / ROWS_FILE.format(rank), rank, [line for line in kinds if "phase" in line])
    events.sort(key=lambda event: event.begin)  # stable: a rank's own order stays
    found = replace(header, events=tuple(events), clocks=tuple(clocks), complete=whole, note=note)
    if until:
        found = replace(found.until(min(until)), note=f"{note}; the record was full".lstrip("; "))
    trace.write(found, folder / trace.FILE)
    for rank in range(header.ranks):
        for name in (ROWS_FILE, KINDS_FILE):
            (folder / name.format(rank)).unlink(missing_ok=True)
    return folder / trace.FILE


def _said(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines; its last line may be cut short, as its rank may have been killed."""
    with suppress(OSError, json.JSONDecodeError), path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _rows(path: Path, rank: int, kinds: list[Mapping[str, Any]]) -> list[TraceEvent]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:  # its process never came so far
        return []
    ops = [None if kind["op"] is None else from_json(kind["op"]) for kind in kinds]
    collectives = [tuple(map(from_json, kind["collective"])) for kind in kinds]
    events: list[TraceEvent] = []
    for at in range(0, len(data) - ROW_BYTES + 1, ROW_BYTES):
        began, iteration, number, _ = BEGIN_FIELDS.unpack_from(data, at)
        if not 0 < number <= len(kinds):
            break
        ended, nbytes, answer, _ = END_FIELDS.unpack_from(data, at + BEGIN_FIELDS.size)
        device = DEVICE_FIELDS.unpack_from(data, at + BEGIN_FIELDS.size + END_FIELDS.size)
        kind = kinds[number - 1]
        events.append(
            TraceEvent(
                rank=rank,
                begin=began,
                end=ended or None,
                iteration=iteration,
                phase=kind["phase"],
                slot=kind["slot"],
                op=_sized(ops[number - 1], nbytes),
                collective=collectives[number - 1],
                answer=None if answer == NOTHING or not ended else bool(answer),
                device=device if device[1] else None,
            )
        )
    return events


def _sized(op: Operation | None, nbytes: int) -> Operation | None:
    """The operation with the bytes that it sent."""
    if isinstance(op, Batch):
        return replace(
            op, ops=tuple(replace(part, nbytes=nbytes) if isinstance(part, Isend) else part for part in op.ops)
        )
    return replace(op, nbytes=nbytes) if isinstance(op, Isend) else op
