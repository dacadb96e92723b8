"""What a rank does, recorded while it does it: fixed rows in a file that is mapped into memory.

A row costs its rank a handful of stores and no system call, and is in the file however the process ends. A second
file, of JSON lines, says once what each kind of row means.
"""

from __future__ import annotations

import json
import mmap
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from struct import Struct
from typing import Any

from model.pipelines.serving import Step
from model.program.json_form import to_json
from model.program.ops import Compute

ROWS_FILE, KINDS_FILE = "rank{}.rows", "rank{}.jsonl"
"""Names of a rank's two files."""

BEGIN_FIELDS = Struct("<qqii")
"""begin, iteration, kind of row counted from 1, filler"""
END_FIELDS = Struct("<qqii")
"""end, bytes of the payload, answer (NOTHING, 0 or 1), filler; after BEGIN_FIELDS"""
DEVICE_FIELDS = Struct("<qq")
"""begin and end on the device, 0 where there is none; after END_FIELDS"""
ROW_BYTES = BEGIN_FIELDS.size + END_FIELDS.size + DEVICE_FIELDS.size
NOTHING = -1

GROW_BYTES = 2**15 * ROW_BYTES
"""Bytes by which the file grows."""
MAX_BYTES = 2**17 * ROW_BYTES
"""Bytes of a file at most, minutes of a busy pipeline; then the record ends, as the beginning of the run."""

REBASE = 10.0
"""Seconds after which device times count from a new event: they come as 32-bit floats of milliseconds."""


class TraceWriter:
    """The record of one rank: `begin` and `end` frame each step.

    event: makes an event of the device that keeps the time; None where the device works in program order. Raises
    OSError where the files cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        rank: int,
        *,
        event: Callable[[], Any] | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._clock, self._max_bytes = clock, max_bytes
        self._kinds: dict[Step, int] = {}
        self._said = (folder / KINDS_FILE.format(rank)).open("w", encoding="utf-8")
        self._say({"rank": rank, "clock": clock_name()})
        self._file = (folder / ROWS_FILE.format(rank)).open("w+b")
        os.posix_fallocate(self._file.fileno(), 0, GROW_BYTES)  # a full disk is an error here, and no signal later
        self._rows = mmap.mmap(self._file.fileno(), GROW_BYTES)
        self._size = GROW_BYTES
        self._at = -ROW_BYTES
        self._full = False
        self._nbytes = 0
        self._event = event
        self._began: Any = None  # a mark in the device's stream before the compute of the step at hand
        self._pending: deque[tuple[int, Any, Any]] = deque()
        if event is not None:
            self._base = self._mark()
            self._base.synchronize()
            self._origin = float(clock())

    def begin(self, step: Step, iteration: int) -> None:
        """The rank begins a step."""
        at = self._at + ROW_BYTES
        if at >= self._size and not self._grow():
            return
        kind = self._kinds.get(step)
        if kind is None:
            kind = self._kinds[step] = len(self._kinds) + 1
            op = None if step.op is None else to_json(step.op)
            collective = [to_json(op) for op in step.collective]
            self._say({"phase": step.phase, "slot": step.slot, "op": op, "collective": collective})
        self._at = at
        BEGIN_FIELDS.pack_into(self._rows, at, self._clock(), iteration, kind, 0)
        if self._event is not None and isinstance(step.op, Compute):
            self._began = self._mark()

    def sends(self, nbytes: int) -> None:
        """The step at hand sends so many bytes: noted now, as it may never end."""
        if not self._full:
            self._nbytes = nbytes
            END_FIELDS.pack_into(self._rows, self._at + BEGIN_FIELDS.size, 0, nbytes, NOTHING, 0)

    def end(self, answer: bool | None) -> None:
        """The step at hand is over; `answer` is what the loop is told."""
        if not self._full:
            told = NOTHING if answer is None else int(answer)
            END_FIELDS.pack_into(self._rows, self._at + BEGIN_FIELDS.size, self._clock(), self._nbytes, told, 0)
            self._nbytes = 0
        if self._began is not None:  # its times on the device are looked up later, without waiting
            self._pending.append((self._at, self._began, self._mark()))
            self._began = None
            self._resolve(wait=False)

    def close(self) -> None:
        """Completes the record; the rank is at its end."""
        self._resolve(wait=True)
        self._say({"rows": self._at // ROW_BYTES + 1})
        self._said.close()
        self._rows.close()
        self._file.close()

    def _mark(self) -> Any:
        assert self._event is not None, "called with a device"
        mark = self._event()
        mark.record()
        return mark

    def _grow(self) -> bool:
        if self._full or self._size >= self._max_bytes:
            self._stop(f"the record is full: {self._size} bytes")
            return False
        try:
            os.posix_fallocate(self._file.fileno(), self._size, GROW_BYTES)
            self._rows.resize(self._size + GROW_BYTES)
        except OSError as error:
            self._stop(f"the record could not grow: {error}")
            return False
        self._size += GROW_BYTES
        return True

    def _stop(self, why: str) -> None:
        if not self._full:
            self._full = True
            self._say({"stopped": why, "at": self._clock()})

    def _say(self, data: dict[str, Any]) -> None:
        self._said.write(json.dumps(data) + "\n")
        self._said.flush()

    def _resolve(self, *, wait: bool) -> None:
        while self._pending:
            at, began, ended = self._pending[0]
            if wait:
                ended.synchronize()
            elif not ended.query():
                return
            self._pending.popleft()
            first, last = (self._origin + self._base.elapsed_time(mark) * 1e6 for mark in (began, ended))
            DEVICE_FIELDS.pack_into(self._rows, at + BEGIN_FIELDS.size + END_FIELDS.size, int(first), int(last))
            if last - self._origin > REBASE * 1e9:
                self._base, self._origin = ended, last


def clock_name() -> str:
    """Names the clock of this machine: processes with equal names can compare their times."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"monotonic {boot.read_text().strip()}" if boot.exists() else "monotonic"
