"""Timelines of recorded runs: spans that nest, shares that add up, Chrome traces that Chrome takes."""

import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from model.events.timing import Timing
from model.pipelines.serving import Phase
from model.program.ops import Compute, Recv, Send
from model.traces.jsonl import write
from model.traces.recorded import INSIDE_BUBBLE, TimeBreakdown, recorded_spans, time_breakdowns, window
from model.traces.timeline import chrome_trace
from model.traces.trace import LoopSettings, Trace, TraceEvent
from tests.model.conftest import Inside
from tests.model.recordings import recording
from tests.model.traces.test_conformance import runs


def check_chrome(made: dict[str, Any]) -> None:
    """What the trace event format asks for: required keys, times in order, no negative duration, spans that nest."""
    tracks: dict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    named = set()
    for event in made["traceEvents"]:
        assert {"ph", "pid", "tid", "name"} <= set(event)
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name") and event["args"]["name"]
            named.add((event["pid"], event["tid"]))
            continue
        assert event["ph"] == "X" and event["cat"] and event["dur"] >= 0 and event["ts"] >= 0
        tracks[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    assert set(tracks) <= named
    for spans_of in tracks.values():
        assert [begin for begin, _ in spans_of] == sorted(begin for begin, _ in spans_of)
        open_ones: list[float] = []
        for begin, end in spans_of:
            while open_ones and open_ones[-1] <= begin + 1e-6:
                open_ones.pop()
            assert not open_ones or end <= open_ones[-1] + 1e-6, "a span sticks out of the one around it"
            open_ones.append(end)


@given(runs)
def test_spans_nest_and_shares_add_up(trace: Trace) -> None:
    found = recorded_spans(trace)
    made = chrome_trace(found, Timing(tick=1e-9), lanes=("host", "device"))
    check_chrome(made)
    json.dumps(made, allow_nan=False)
    steps = [span for span in found if span.kind != "bubble"]
    for one, following in pairwise(steps):
        if one.rank == following.rank:
            assert one.end is not None and one.end <= following.begin
    for item in time_breakdowns(found):
        assert item.busy + item.of["idle"] <= item.total
        assert sum(item.of[kind] for kind in INSIDE_BUBBLE) <= item.of["bubble"]
    computes = sum(event.phase == Phase.LAUNCH for event in trace.events)
    assert sum(span.kind == "compute" for span in found) == computes


@given(runs)
def test_a_window_cuts(trace: Trace) -> None:
    found = window(recorded_spans(trace), 200, 900)
    assert all(200 <= span.begin < 900 and span.end is not None and span.end <= 900 for span in found)
    check_chrome(chrome_trace(found, Timing(tick=1e-9)))


def test_a_single_rank_by_hand() -> None:
    """A batch from 10 to 60, computing from 20 to 50."""

    def step(phase: Phase, begin: int, end: int, answer: bool | None = None, op: Compute | None = None) -> TraceEvent:
        return TraceEvent(rank=0, begin=begin, end=end, phase=str(phase), answer=answer, op=op)

    trace = Trace(
        ranks=1,
        loop=LoopSettings(depth=0, ordering="parity"),
        semantics={"*": "gloo"},
        clocks=("",),
        complete=True,
        events=(
            step(Phase.POLL, 0, 10, True),
            step(Phase.FORM, 10, 15, True),
            step(Phase.LAUNCH, 20, 50, op=Compute(label="forward 0")),
            step(Phase.KEEP_OUTPUT, 50, 52),
            step(Phase.FINISH, 55, 60),
            step(Phase.POLL, 70, 80, False),
        ),
    )
    found = recorded_spans(trace)
    assert [(span.kind, span.begin, span.end) for span in found] == [
        ("idle", 0, 10),
        ("bubble", 10, 20),
        ("loop", 10, 15),
        ("compute", 20, 50),
        ("bubble", 50, 60),
        ("loop", 50, 52),
        ("loop", 55, 60),
        ("idle", 70, 80),
    ]
    (item,) = time_breakdowns(found)
    assert (item.total, item.busy, item.part("compute"), item.part("bubble")) == (80, 50, 0.6, 0.4)
    assert item.part("loop") == pytest.approx(12 / 50)


def test_a_device_has_a_lane_of_its_own() -> None:
    """The host launches from 20 to 22, and the device computes from 25 to 50."""
    steps = [
        TraceEvent(rank=0, begin=10, end=15, phase=str(Phase.FORM), answer=True),
        TraceEvent(rank=0, begin=20, end=22, phase=str(Phase.LAUNCH), op=Compute(), device=(25, 50)),
        TraceEvent(rank=0, begin=40, end=60, phase=str(Phase.FINISH)),
    ]
    loop = LoopSettings(depth=0, ordering="parity")
    trace = Trace(ranks=1, loop=loop, semantics={"*": "nccl"}, clocks=("",), complete=True, events=tuple(steps))
    found = recorded_spans(trace)
    assert [(span.lane, span.kind, span.begin, span.end) for span in found] == [
        (0, "loop", 0, 5),
        (0, "loop", 10, 12),
        (0, "loop", 30, 50),
        (1, "bubble", 0, 15),
        (1, "compute", 15, 40),
        (1, "bubble", 40, 50),
    ]


def test_a_receive_waits_until_its_message_is_sent() -> None:
    trace = Trace(
        ranks=2,
        loop=None,
        semantics={"*": "gloo"},
        clocks=("", ""),
        complete=True,
        events=(
            TraceEvent(rank=0, begin=0, end=9, op=Recv(peer=1)),
            TraceEvent(rank=1, begin=4, end=8, op=Send(peer=0)),
        ),
    )
    assert [(span.rank, span.kind, span.begin, span.end) for span in recorded_spans(trace)] == [
        (0, "wait", 0, 4),
        (0, "receive", 4, 9),
        (1, "send", 4, 8),
    ]


def test_what_never_ends_is_a_wait() -> None:
    stuck = [
        span for span in recorded_spans(recording(ranks=3, policy="send-first", blocking=True)) if span.end is None
    ]
    assert [(span.rank, span.kind) for span in stuck] == [
        (rank, kind) for rank in range(3) for kind in ("bubble", "wait")
    ]


def test_nothing_recorded() -> None:
    assert (
        recorded_spans(Trace(ranks=1, loop=None, semantics={"*": "gloo"}, clocks=("",), events=(), complete=False))
        == []
    )
    assert TimeBreakdown(rank=0, total=0, of={"compute": 0, "bubble": 0}).part("compute") == 0.0


def test_the_command(inside: Inside, tmp_path: Path) -> None:
    write(recording(ranks=3), tmp_path / "trace.jsonl")
    picture, made = tmp_path / "out.png", tmp_path / "out.json"
    status, out, err = inside("timeline", str(tmp_path), "--draw", str(picture), "--chrome", str(made))
    assert (status, err) == (0, "") and out.splitlines()[0].split()[:4] == ["rank", "recorded", "with", "a"]
    assert picture.stat().st_size > 1000
    check_chrome(json.loads(made.read_text()))
    status, out, _ = inside("timeline", str(tmp_path), "--json")
    ranks = json.loads(out)["ranks"]
    assert [item["rank"] for item in ranks] == [0, 1, 2]
    assert all(0 < item["seconds"]["compute"] < item["with_batch"] <= item["total"] for item in ranks)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--since", "2", "--until", "1"), "give 0 <= since < until"),
        (("--since", "nan"), "give 0 <= since < until"),
        (("--draw", "x.doc"), "cannot draw to"),
    ],
)
def test_wrong_values_are_one_line(inside: Inside, tmp_path: Path, flags: tuple[str, ...], said: str) -> None:
    write(recording(ranks=2), tmp_path / "trace.jsonl")
    status, out, err = inside("timeline", str(tmp_path), *flags)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert said in err


def test_a_step_that_is_launched_early_leaves_no_bubble_behind() -> None:
    """The first launch queues two steps, and the second batch is formed while the second step is computed."""

    def step(phase: Phase, begin: int, end: int, device: tuple[int, int] | None = None) -> TraceEvent:
        op, answer = (Compute() if device else None), (True if phase is Phase.FORM else None)
        return TraceEvent(rank=0, begin=begin, end=end, phase=str(phase), op=op, answer=answer, device=device)

    steps = (
        step(Phase.FORM, 10, 11),
        step(Phase.LAUNCH, 12, 14, (14, 64)),
        step(Phase.FINISH, 30, 40),
        step(Phase.FORM, 42, 43),
        step(Phase.LAUNCH, 44, 46, (64, 89)),
        step(Phase.FINISH, 60, 66),
    )
    trace = Trace(
        ranks=1,
        loop=LoopSettings(depth=0, ordering="parity"),
        semantics={"*": "nccl"},
        clocks=("",),
        complete=True,
        events=steps,
    )
    found = [(span.kind, span.begin, span.end) for span in recorded_spans(trace) if span.kind in ("bubble", "compute")]
    assert found == [("bubble", 0, 4), ("compute", 4, 54), ("compute", 54, 79)]
