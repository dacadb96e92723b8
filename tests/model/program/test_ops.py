"""Operations: text, JSON round trip, and every malformed field is a ValueError that names the value."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.program.checked import program, wildcard_free
from model.program.json_form import from_json, to_json
from model.program.ops import ANY, NAMES, Batch, Compute, Irecv, Isend, Operation, Recv, Send, Wait

numbers = st.integers(0, 10**30)
wild = numbers | st.just(ANY)
comms = st.sampled_from(["world", "control", ""]) | st.text(max_size=5)
requests = st.integers() | st.text(max_size=5)
isends = st.builds(Isend, peer=numbers, request=requests, tag=numbers, nbytes=numbers, comm=comms)
irecvs = st.builds(Irecv, peer=wild, request=requests, tag=wild, comm=comms)
operations: st.SearchStrategy[Operation] = st.one_of(
    st.builds(Send, peer=numbers, tag=numbers, nbytes=numbers, comm=comms),
    st.builds(Recv, peer=wild, tag=wild, comm=comms),
    isends,
    irecvs,
    st.builds(Wait, requests=st.lists(requests, max_size=3).map(tuple)),
    st.builds(Batch, ops=st.lists(isends | irecvs, max_size=3).map(tuple)),
    st.builds(Compute, label=st.text(max_size=5), seconds=st.floats(0, allow_infinity=False)),
)


@given(operations)
def test_json_round_trip(op: Operation) -> None:
    assert from_json(json.loads(json.dumps(to_json(op)))) == op


def test_json_names_every_kind() -> None:
    kinds = "send ssend bsend isend issend ibsend recv irecv wait waitall probe sendrecv batch barrier compute"
    assert list(NAMES) == kinds.split()


def test_json_leaves_defaults_out() -> None:
    assert to_json(Send(peer=1)) == {"op": "send", "peer": 1}
    assert to_json(Recv(peer=ANY, tag=ANY)) == {"op": "recv", "peer": "any", "tag": "any"}
    assert to_json(Batch(ops=(Irecv(peer=0, request="r"),))) == {
        "op": "batch",
        "ops": [{"op": "irecv", "peer": 0, "request": "r"}],
    }


def test_a_wait_for_one_request_may_be_written_short() -> None:
    assert from_json({"op": "wait", "request": 1}) == Wait(requests=(1,))
    assert from_json({"op": "wait", "requests": [1, "a"]}) == Wait(requests=(1, "a"))


@pytest.mark.parametrize(
    ("op", "shown"),
    [
        (Send(peer=1), "send(1)"),
        (Send(peer=1, tag=2, nbytes=3, comm="data"), "send(1, tag=2, nbytes=3, comm=data)"),
        (Recv(peer=ANY, tag=ANY), "recv(any, tag=any)"),
        (Isend(peer=1, request="a", tag=2), "isend(1, request=a, tag=2)"),
        (Isend(peer=1, request=-1), "isend(1, request=-1)"),
        (Irecv(peer=0, request=7), "irecv(0, request=7)"),
        (Wait(requests=("a", 7)), "wait(a, 7)"),
        (
            Batch(ops=(Isend(peer=1, request="s"), Irecv(peer=1, request="r"))),
            "batch(isend(1, request=s), irecv(1, request=r))",
        ),
        (Compute(label="forward", seconds=0.5), "compute(label=forward, seconds=0.5)"),
        (Compute(), "compute()"),
    ],
)
def test_text(op: Operation, shown: str) -> None:
    assert str(op) == shown


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ([], "[]"),
        (None, "None"),
        ("send", "'send'"),
        ({}, "None"),
        ({"op": "put", "peer": 1}, "'put'"),
        ({"op": ["send"], "peer": 1}, "['send']"),
        ({"op": "send"}, "peer"),
        ({"op": "recv", "tag": 1}, "peer"),
        ({"op": "isend", "peer": 1}, "request"),
        ({"op": "irecv", "peer": 1}, "request"),
        ({"op": "wait"}, "requests"),
        ({"op": "batch"}, "ops"),
        ({"op": "send", "peer": 1, "color": "red"}, "'color'"),
        ({"op": "recv", "peer": 1, "nbytes": 8}, "'nbytes'"),
        ({"op": "send", "peer": "1"}, "'1'"),
        ({"op": "send", "peer": 1.0}, "1.0"),
        ({"op": "send", "peer": True}, "True"),
        ({"op": "send", "peer": None}, "None"),
        ({"op": "send", "peer": 1, "tag": False}, "False"),
        ({"op": "send", "peer": 1, "tag": "some"}, "'some'"),
        ({"op": "send", "peer": 1, "nbytes": "any"}, "'any'"),
        ({"op": "send", "peer": 1, "nbytes": 1.5}, "1.5"),
        ({"op": "send", "peer": 1, "nbytes": True}, "True"),
        ({"op": "send", "peer": 1, "comm": 3}, "3"),
        ({"op": "isend", "peer": 1, "request": True}, "True"),
        ({"op": "isend", "peer": 1, "request": 1.5}, "1.5"),
        ({"op": "isend", "peer": 1, "request": ["a"]}, "['a']"),
        ({"op": "wait", "requests": 1}, "1"),
        ({"op": "wait", "requests": "ab"}, "'ab'"),
        ({"op": "wait", "requests": [True]}, "[True]"),
        ({"op": "wait", "requests": [[1]]}, "[[1]]"),
        ({"op": "wait", "request": 1, "requests": [2]}, "'request'"),
        ({"op": "batch", "ops": {"op": "isend"}}, "{'op': 'isend'}"),
        ({"op": "batch", "ops": [3]}, "3"),
        ({"op": "batch", "ops": [{"op": "isend", "peer": 1}]}, "request"),
        ({"op": "compute", "seconds": "1"}, "'1'"),
        ({"op": "compute", "seconds": True}, "True"),
        ({"op": "compute", "label": 1}, "1"),
    ],
)
def test_malformed_json_is_an_error_that_names_the_value(data: Any, named: str) -> None:
    with pytest.raises(ValueError) as error:
        from_json(data)
    assert named in str(error.value)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from(list(NAMES)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from(["op", "peer", "tag", "nbytes", "comm", "request", "requests", "ops", "label", "seconds"])


@given(st.dictionaries(fields, plain, max_size=4), st.sampled_from(list(NAMES)))
def test_any_object_is_an_operation_or_a_value_error(data: dict[str, Any], kind: str) -> None:
    for candidate in (data, {**data, "op": kind}):
        try:
            op = from_json(candidate)
        except ValueError:
            continue
        assert isinstance(op, NAMES[op.kind][0])


S, R = Isend(peer=1, request="s"), Irecv(peer=1, request="r")


@pytest.mark.parametrize(
    ("ops", "named"),
    [
        ([Send(peer=2)], "rank 2"),
        ([Send(peer=-3)], "rank -3"),
        ([Send(peer=ANY)], "rank -1"),
        ([Isend(peer=ANY, request=1)], "rank -1"),
        ([Recv(peer=2)], "rank 2"),
        ([Recv(peer=-3)], "rank -3"),
        ([Irecv(peer=10**30, request=1)], str(10**30)),
        ([Send(peer=1, tag=ANY)], "tag is -1"),
        ([Recv(peer=1, tag=-2)], "tag is -2"),
        ([Send(peer=1, nbytes=-1)], "nbytes is -1"),
        ([Isend(peer=1, request=1, nbytes=-5)], "nbytes is -5"),
        ([Wait(requests=("a",))], "'a'"),
        ([S, Wait(requests=("r",))], "'r'"),
        ([S, Wait(requests=("s",)), Wait(requests=("s",))], "'s'"),
        ([S, S], "'s'"),
        ([S, Irecv(peer=1, request="s")], "'s'"),
        ([Batch(ops=(S, S))], "'s'"),
        ([S, Batch(ops=(S,))], "'s'"),
        ([Batch(ops=(S, R)), Wait(requests=("s",))], "'s'"),
        ([Batch(ops=())], "batch()"),
        ([Batch(ops=(Batch(ops=(S,)),))], "batch(batch("),  # type: ignore[arg-type]
        ([Batch(ops=(Send(peer=1),))], "batch(send(1))"),  # type: ignore[arg-type]
        ([Batch(ops=(Irecv(peer=5, request=1),))], "rank 5"),
        ([Compute(seconds=-0.5)], "-0.5"),
        ([Compute(seconds=math.nan)], "nan"),
        ([Compute(seconds=math.inf)], "inf"),
        ([Compute(seconds=-math.inf)], "-inf"),
    ],
)
def test_a_wrong_program_is_an_error_that_names_rank_operation_and_value(ops: list[Operation], named: str) -> None:
    with pytest.raises(ValueError) as error:
        program([[], ops])
    assert named in str(error.value)
    assert "rank 1, " in str(error.value)


def test_a_program_needs_ranks() -> None:
    with pytest.raises(ValueError, match="without ranks"):
        program([])
    assert program([[]]) == ((),)


def test_a_request_is_free_again_after_its_wait_or_batch() -> None:
    ops: list[Operation] = [
        S,
        Wait(requests=("s",)),
        S,
        R,
        Wait(requests=("r", "s")),
        Batch(ops=(S, R)),
        Batch(ops=(S, R)),
    ]
    assert program([[], ops])[1] == tuple(ops)


def test_a_huge_compute_time_in_whole_seconds_is_allowed() -> None:
    assert program([[Compute(seconds=10**400)]])


@pytest.mark.parametrize(
    ("op", "free"),
    [
        (Recv(peer=0), True),
        (Recv(peer=ANY), False),
        (Recv(peer=0, tag=ANY), False),
        (Irecv(peer=ANY, request=1), False),
        (Batch(ops=(Irecv(peer=0, tag=ANY, request=1),)), False),
        (Batch(ops=(Irecv(peer=0, request=1),)), True),
        (Isend(peer=0, request=ANY), True),
        (Compute(seconds=1), True),
    ],
)
def test_wildcard_free(op: Operation, free: bool) -> None:
    assert wildcard_free([[], [op]]) is free
