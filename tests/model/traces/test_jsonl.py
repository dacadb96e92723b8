"""The trace form: round trip, and one clear line on whatever is no trace."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model.program.ops import Send
from model.traces.jsonl import from_lines, read, to_lines, write
from model.traces.trace import LATEST, LoopSettings, Trace, TraceEvent
from tests.model.program.test_ops import operations
from tests.model.recordings import recording

RANKS = 3
times = st.integers(0, LATEST - 1)
events = st.builds(
    TraceEvent,
    rank=st.integers(0, RANKS - 1),
    begin=times,
    end=st.none() | times,
    iteration=times,
    phase=st.text(max_size=5),
    slot=times,
    op=st.none() | operations,
    collective=st.lists(operations, max_size=2).map(tuple),
    answer=st.none() | st.booleans(),
    device=st.none() | st.tuples(times, times),
)
traces = st.builds(
    Trace,
    ranks=st.just(RANKS),
    loop=st.none()
    | st.builds(LoopSettings, depth=st.integers(0, 9), ordering=st.text(max_size=5), tp=st.integers(1, 3)),
    semantics=st.dictionaries(st.text(max_size=5), st.text(max_size=5), min_size=1, max_size=3),
    clocks=st.tuples(*[st.text(max_size=3)] * RANKS),
    events=st.lists(events, max_size=4).map(tuple),
    complete=st.booleans(),
    queued=st.frozensets(st.text(max_size=3), max_size=2),
    note=st.text(max_size=9),
)
SOUND = recording(ranks=2, present=(True,))
LINES = tuple(to_lines(SOUND))


@given(traces)
def test_round_trip(trace: Trace) -> None:
    assert from_lines(to_lines(trace)) == trace


def test_round_trip_through_a_file(tmp_path: Path) -> None:
    write(SOUND, tmp_path / "trace.jsonl")
    assert read(tmp_path / "trace.jsonl") == SOUND
    assert len((tmp_path / "trace.jsonl").read_text().splitlines()) == 1 + len(SOUND.events)


def test_version_1_is_read() -> None:
    """It says `records` and `shared` where version 2 says `events` and `collective`."""
    event = TraceEvent(rank=0, begin=1, end=2, collective=(Send(peer=1, comm="stage control"),))
    trace = replace(SOUND, events=(*SOUND.events, event))
    header, *lines = map(json.loads, to_lines(trace))
    header = {**header, "version": 1, "records": header.pop("events")}
    for line in lines:
        if "collective" in line:
            line["shared"] = line.pop("collective")
    assert "shared" in lines[-1]
    assert from_lines(map(json.dumps, [header, *lines])) == trace


def one_line(tmp_path: Path, content: bytes) -> str:
    """What the reader says of content that is no trace; empty where it is one."""
    file = tmp_path / "trace.jsonl"
    file.write_bytes(content)
    try:
        read(file)
    except ValueError as error:
        said = str(error)
        assert said.startswith("trace.jsonl") and len(said.splitlines()) == 1 and len(said) < 500
        return said
    return ""


@given(st.binary(max_size=60))
@example(b"\xff\xfe")
@example(b"[" * 100_000)
@example(b"1" * 5000)
@example(b"")
def test_bytes_that_are_no_trace(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("fuzz", numbered=True)
    assert one_line(folder, content)
    header = LINES[0].encode() + b"\n"
    assert one_line(folder, header + content)


@given(st.data())
def test_a_trace_cut_short_is_none(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    whole = "\n".join(LINES).encode()
    cut = data.draw(st.integers(0, len(whole) - 1))
    assert one_line(tmp_path_factory.mktemp("cut", numbered=True), whole[:cut])


@given(st.data())
def test_any_value_in_the_place_of_any_other(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A trace still, or one clear line: never another error."""
    number = data.draw(st.integers(0, len(LINES) - 1))
    line = json.loads(LINES[number])
    field = data.draw(st.sampled_from(sorted(line)) | st.text(max_size=3))
    scalar = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    line[field] = data.draw(
        st.recursive(scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))
    )
    lines = [*LINES[:number], json.dumps(line), *LINES[number + 1 :]]
    one_line(tmp_path_factory.mktemp("value", numbered=True), "\n".join(lines).encode())


def test_a_long_value_is_not_said_in_full(tmp_path: Path) -> None:
    line = {**json.loads(LINES[1]), "op": ["x" * 1000]}
    said = one_line(tmp_path, "\n".join([LINES[0], json.dumps(line)]).encode())
    assert "operation ['xxx" in said and "... is not an object; write one like" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "other"}, "line 1: format is 'other'; a trace begins with its header"),
        ({"version": 3}, "line 1: version is 3; this reader knows versions 1 and 2"),
        ({"version": True}, "line 1: version is True"),
        ({"unit": "s"}, "unit is 's'; times are in 'ns'"),
        ({"ranks": 0}, "ranks is 0; give int >= 1"),
        ({"ranks": 10**9}, "give the name of a clock for each of 1000000000 ranks"),
        ({"clocks": [1, 2]}, "clocks[0] is 1; give str"),
        ({"loop": {"depth": -1, "ordering": "parity", "tp": 1}}, "loop.depth is -1"),
        ({"loop": {"depth": 0}}, "ordering of loop is missing; add it"),
        ({"loop": 3}, "loop is 3; give object | null"),
        ({"semantics": {}}, "semantics is {}"),
        ({"queued": "data"}, "queued is 'data'"),
        ({"complete": 1}, "complete is 1; give bool"),
        ({"colour": "red"}, "unknown field 'colour'"),
        ({"events": 3}, "the header does not belong to it"),
        ({"events": 10**6}, "the file was cut short"),
    ],
)
def test_a_malformed_header(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    header = json.dumps({**json.loads(LINES[0]), **changes})
    assert said in one_line(tmp_path, "\n".join([header, *LINES[1:]]).encode())


def test_a_header_without_a_field(tmp_path: Path) -> None:
    header = json.loads(LINES[0])
    del header["clocks"]
    assert "line 1: clocks is missing; add it" in one_line(tmp_path, json.dumps(header).encode())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rank": 2}, "line 2: there is no rank 2; ranks are 0 to 1"),
        ({"rank": True}, "rank is True"),
        ({"begin": -1}, "begin is -1"),
        ({"begin": 1.5}, "begin is 1.5"),
        ({"end": LATEST}, f"end is {LATEST}"),
        ({"phase": 1}, "phase is 1"),
        ({"answer": 1}, "answer is 1"),
        ({"device": [1]}, "device is [1]"),
        ({"device": [1, "2"]}, "device[1] is '2'"),
        ({"op": {"op": "shout"}}, "unknown operation 'shout'"),
        ({"op": []}, "is not an object"),
        ({"collective": {}}, "collective is {}"),
        ({"iteration": None}, "iteration is None"),
        ({"colour": "red"}, "unknown field 'colour'"),
    ],
)
def test_a_malformed_event(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    event = json.dumps({**json.loads(LINES[1]), **changes})
    assert said in one_line(tmp_path, "\n".join([LINES[0], event, *LINES[2:]]).encode())


def test_a_trace_until_a_time() -> None:
    whole = SOUND.events
    cut = SOUND.until(whole[10].begin)
    assert [item.begin for item in cut.events] == [item.begin for item in whole[:11]]
    assert not cut.complete
    assert [item.end for item in cut.events if item.end is not None and item.end > whole[10].begin] == []
