"""Recording: rows, what they cost, and what is left of them when a rank dies."""

import inspect
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from model.pipelines.serving import CONTROL, DATA, Phase, Step, serving_loop
from model.program.ops import Batch, Compute, Irecv, Isend, Recv
from model.rings.orderings import NAMED
from model.traces.jsonl import FILE, read
from model.traces.trace import LoopSettings, Trace
from reference.device import ACCELERATORS
from reference.transport.base import bytes_sent
from reference.verification import trace_merge
from reference.verification.trace_writer import GROW_BYTES, KINDS_FILE, ROW_BYTES, ROWS_FILE, TraceWriter

pytestmark = pytest.mark.xdist_group("engine")

HEADER = Trace(
    ranks=1,
    loop=LoopSettings(depth=0, ordering="parity"),
    semantics={CONTROL: "gloo", DATA: "gloo"},
    clocks=("",),
    events=(),
    complete=False,
)
POLL = Step(phase=Phase.POLL, slot=0)
SEND = Step(phase=Phase.SEND_PROXY, slot=1, op=Isend(peer=1, tag=1, request=1, comm=DATA))
LAUNCH = Step(phase=Phase.LAUNCH, slot=0, op=Compute(label="forward 0"))


class Ticks:
    """A clock that counts."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        self.now += 1
        return self.now


class Mark:
    """An event of a device that lags 100 ns behind the host, and is done when told."""

    done = False

    def __init__(self, clock: Ticks) -> None:
        self._clock, self._at = clock, 0

    def record(self) -> None:
        self._at = self._clock.now + 100

    def synchronize(self) -> None:
        """Nothing is ever under way."""

    def query(self) -> bool:
        return Mark.done

    def elapsed_time(self, later: "Mark") -> float:
        return (later._at - self._at) / 1e6


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    trace_merge.prepare_folder(tmp_path / "run", HEADER)
    yield tmp_path / "run"


def test_rows_come_back_as_records(folder: Path) -> None:
    writer = TraceWriter(folder, 0, clock=Ticks())
    writer.begin(POLL, 0)
    writer.end(True)
    writer.begin(SEND, 0)
    writer.sends(640)
    writer.end(None)
    writer.begin(POLL, 1)
    writer.end(False)
    writer.close()
    trace = read(trace_merge.merge(folder, "a note"))
    assert [(item.begin, item.end, item.iteration, item.phase, item.slot, item.answer) for item in trace.events] == [
        (1, 2, 0, "poll", 0, True),
        (3, 4, 0, "send proxy", 1, None),
        (5, 6, 1, "poll", 0, False),
    ]
    assert [item.op for item in trace.events] == [
        None,
        Isend(peer=1, tag=1, request=1, comm=DATA, nbytes=640),
        None,
    ]
    assert (trace.complete, trace.note, trace.loop) == (True, "a note", HEADER.loop)
    assert sorted(item.name for item in folder.iterdir()) == [trace_merge.HEADER, FILE]


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.reference.verification.test_trace_writer import POLL, SEND, TraceWriter, Ticks
writer = TraceWriter(Path(sys.argv[1]), 0, clock=Ticks())
writer.begin(POLL, 0)
writer.end(True)
writer.begin(SEND, 0)
writer.sends(64)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_record_survives_the_death_of_its_rank(folder: Path) -> None:
    """The step at hand was never over; its bytes are known all the same."""
    ended = subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False)
    assert ended.returncode == -signal.SIGKILL
    with (folder / KINDS_FILE.format(0)).open("a") as file:
        file.write('{"phase": "half a li')
    trace = read(trace_merge.merge(folder))
    assert [(item.begin, item.end, item.answer) for item in trace.events] == [(1, 2, True), (3, None, None)]
    assert trace.events[1].op == Isend(peer=1, tag=1, request=1, comm=DATA, nbytes=64)
    assert not trace.complete


def test_the_file_grows(folder: Path) -> None:
    steps = GROW_BYTES // ROW_BYTES + 10
    writer = TraceWriter(folder, 0, clock=Ticks())
    for number in range(steps):
        writer.begin(POLL, number)
        writer.end(True)
    writer.close()
    assert (folder / ROWS_FILE.format(0)).stat().st_size == 2 * GROW_BYTES
    assert [item.iteration for item in read(trace_merge.merge(folder)).events] == list(range(steps))


def test_a_full_record_is_the_beginning_of_the_run_on_every_rank(tmp_path: Path) -> None:
    """Rank 1 goes on after rank 0's record is full; the trace ends with rank 0's."""
    header = Trace(**{**{name: getattr(HEADER, name) for name in HEADER.__slots__}, "ranks": 2, "clocks": ("", "")})
    trace_merge.prepare_folder(tmp_path, header)
    clock = Ticks()
    small, large = TraceWriter(tmp_path, 0, clock=clock, max_bytes=GROW_BYTES), TraceWriter(tmp_path, 1, clock=clock)
    for number in range(GROW_BYTES // ROW_BYTES + 10):
        for writer in (small, large):
            writer.begin(POLL, number)
            writer.end(True)
    small.close()
    large.close()
    trace = read(trace_merge.merge(tmp_path))
    counts = [len(mine) for mine in trace.by_rank()]
    assert counts == [GROW_BYTES // ROW_BYTES, GROW_BYTES // ROW_BYTES]
    assert not trace.complete and "the record was full" in trace.note


def test_times_on_a_device_are_looked_up_later(folder: Path) -> None:
    clock = Ticks()
    Mark.done = False
    writer = TraceWriter(folder, 0, clock=clock, event=lambda: Mark(clock))
    began = clock.now + 1  # the clock is read after the first mark
    for number in range(3):
        writer.begin(LAUNCH, number)
        writer.end(None)
        Mark.done = number == 1
    writer.close()
    found = [item.device for item in read(trace_merge.merge(folder)).events]
    assert found == [(began + 1 + 2 * number, began + 2 + 2 * number) for number in range(3)]


@pytest.mark.parametrize("kind", ACCELERATORS)
def test_events_of_every_accelerator_keep_the_time(kind: str) -> None:
    event = torch.get_device_module(kind).Event
    assert "enable_timing" in inspect.signature(event.__new__).parameters
    assert all(callable(getattr(event, name)) for name in ("record", "synchronize", "query", "elapsed_time"))


def test_a_folder_that_cannot_be_made_is_a_value_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"trace: cannot write to .*; give a folder of your own"):
        trace_merge.prepare_folder(tmp_path / "file" / "run", HEADER)


def test_what_an_operation_sends() -> None:
    isend, irecv = Isend(peer=1, request=0), Irecv(peer=1, request=1)
    assert bytes_sent(isend, [b"four"]) == 4
    assert bytes_sent(Recv(peer=1), []) == 0
    assert bytes_sent(Batch(ops=(irecv, isend)), [b"received", b"sent"]) == 4


def test_a_longer_run_takes_no_more_memory(folder: Path) -> None:
    """What a step costs in time is a row of `python -m experiments serving-gpu`."""
    loop = serving_loop(rank=1, ranks=3, depth=0, ordering=NAMED["parity"])
    steps: list[Step] = []
    answer: bool | None = None
    for _ in range(300):
        step = loop.send(answer)
        answer = True if step.phase in (Phase.RECV_REQUESTS, Phase.FORM) else None
        steps.append(step)
    writer = TraceWriter(folder, 0)

    def cycle() -> None:
        for step in steps:
            writer.begin(step, 7)
            writer.end(None)

    cycle()  # every kind of row is told once
    said = (folder / KINDS_FILE.format(0)).stat().st_size
    tracemalloc.start()
    try:
        for _ in range(GROW_BYTES // ROW_BYTES // len(steps) + 1):  # past the point where the file grows
            cycle()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (folder / ROWS_FILE.format(0)).stat().st_size > GROW_BYTES
    assert (folder / KINDS_FILE.format(0)).stat().st_size == said
    writer.close()
    assert kept < 4096
