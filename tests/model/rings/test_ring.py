"""Named programs and programs from files; whatever is in a file, it is a program or a ValueError."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model.program.json_form import to_json
from model.program.ops import Batch, Irecv, Isend, Operation, Recv, Send, Wait, program
from model.rings.orderings import NAMED, ordering
from model.rings.ring import STYLES, Style, load, ring


def test_a_ring_sends_to_the_next_rank_and_receives_from_the_previous() -> None:
    assert ring(ranks=3, rounds=1, ordering=ordering("parity", 3), nbytes=7) == (
        (Send(peer=1, nbytes=7), Recv(peer=2)),
        (Recv(peer=0), Send(peer=2, nbytes=7)),
        (Send(peer=0, nbytes=7), Recv(peer=1)),
    )


ISEND, WAIT, RECV = Isend(peer=1, request="s"), Wait(requests=("s",)), Recv(peer=1)


@pytest.mark.parametrize(
    ("style", "letter", "ops"),
    [
        ("send", "S", [Send(peer=1), RECV]),
        ("send", "R", [RECV, Send(peer=1)]),
        ("isend-wait", "S", [ISEND, WAIT, RECV]),
        ("isend-wait", "R", [RECV, ISEND, WAIT]),
        ("isend", "S", [ISEND, RECV, WAIT]),
        ("isend", "R", [RECV, ISEND, WAIT]),
        ("batch", "S", [Batch(ops=(ISEND, Irecv(peer=1, request="r")))]),
        ("batch", "R", [Batch(ops=(Irecv(peer=1, request="r"), ISEND))]),
    ],
)
def test_styles_of_a_ring_step(style: Style, letter: str, ops: list[Operation]) -> None:
    made = ring(ranks=2, rounds=2, ordering=ordering(letter + "S", 2), style=style)
    assert list(made[0]) == ops * 2


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("ranks", [2, 3, 6])
def test_a_ring_is_a_checked_program_with_one_message_per_edge_and_round(style: Style, name: str, ranks: int) -> None:
    made = ring(ranks=ranks, rounds=3, ordering=ordering(name, ranks), style=style)
    assert program(made) == made
    parts = [[part for op in ops for part in (op.ops if isinstance(op, Batch) else (op,))] for ops in made]
    for rank, ops in enumerate(parts):
        assert [op.peer for op in ops if isinstance(op, Send | Isend)] == [(rank + 1) % ranks] * 3
        assert [op.peer for op in ops if isinstance(op, Recv | Irecv)] == [(rank - 1) % ranks] * 3


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"ranks": 1}, "ranks is 1"),
        ({"ranks": 0}, "ranks is 0"),
        ({"ranks": -4}, "ranks is -4"),
        ({"rounds": 0}, "rounds is 0"),
        ({"rounds": -1}, "rounds is -1"),
        ({"style": "sendrecv"}, "'sendrecv'"),
        ({"nbytes": -1}, "nbytes is -1"),
    ],
)
def test_a_wrong_ring_is_an_error_that_names_the_value(changed: dict[str, Any], named: str) -> None:
    arguments: dict[str, Any] = {"ranks": 2, "rounds": 1, "ordering": NAMED["parity"], **changed}
    with pytest.raises(ValueError) as error:
        ring(**arguments)
    assert named in str(error.value)


@pytest.mark.parametrize("style", STYLES)
def test_a_program_comes_back_from_its_file(style: Style, tmp_path: Path) -> None:
    made = ring(ranks=3, rounds=2, ordering=NAMED["parity"], style=style, nbytes=5)
    file = tmp_path / "ring.json"
    file.write_text(json.dumps({"programs": [[to_json(op) for op in ops] for ops in made]}))
    assert load(str(file)) == made


def nested(inner: str, depth: int) -> bytes:
    return ('{"programs":[[' + '{"op":"batch","ops":[' * depth + inner + "]}" * depth + "]]}").encode()


ISEND_JSON = '{"op":"isend","peer":0,"request":0}'
WRONG_FILES = {
    "empty": (b"", "is not JSON"),
    "blank": (b" \n", "is not JSON"),
    "truncated": (b'{"programs": [[{"op": "send", "pee', "is not JSON"),
    "more than one value": (b'{"programs": [[]]}{}', "is not JSON"),
    "not UTF-8": (b'{"programs": [[{"op": "send", "comm": "\xff"}]]}', "is not JSON"),
    "binary": (bytes(range(256)), "is not JSON"),
    "half a UTF-16 pair": ("{}".encode("utf-16")[:3], "is not JSON"),
    "deep lists": (b"[" * 100_000, "is not JSON"),
    "deep lists, closed": (b"[" * 100_000 + b"]" * 100_000, "is not JSON"),
    "deep objects": (b'{"programs":' * 100_000, "is not JSON"),
    "long number": (b'{"programs": [[{"op": "send", "peer": ' + b"9" * 10_000 + b"}]]}", "is not JSON"),
    "large number": (b'{"programs": [[{"op": "send", "peer": 99999999999999999999999}]]}', "99999999999999999999999"),
    "exponent": (b'{"programs": [[{"op": "send", "peer": 1e999}]]}', "inf"),
    "NaN": (b'{"programs": [[{"op": "compute", "seconds": NaN}]]}', "nan"),
    "Infinity": (b'{"programs": [[{"op": "compute", "seconds": Infinity}]]}', "inf"),
    "nested batches": (nested(ISEND_JSON, 2), "batch(batch("),
    "deeply nested batches": (nested(ISEND_JSON, 380), "nested too deeply"),
    "a list": (b"[[]]", '"programs"'),
    "a number": (b"3", '"programs"'),
    "null": (b"null", '"programs"'),
    "no programs": (b"{}", '"programs"'),
    "another key": (b'{"program": [[]]}', '"programs"'),
    "one key too many": (b'{"programs": [[]], "ranks": 4}', "nothing else"),
    "programs is an object": (b'{"programs": {"0": []}}', "one list of operations per rank"),
    "programs is null": (b'{"programs": null}', "one list of operations per rank"),
    "a rank is an operation": (b'{"programs": [{"op": "send", "peer": 1}]}', "one list of operations per rank"),
    "no ranks": (b'{"programs": []}', "without ranks"),
    "an operation is a list": (b'{"programs": [[["send", 1]]]}', "['send', 1]"),
    "an unknown operation": (b'{"programs": [[{"op": "bcast"}]]}', "'bcast'"),
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_a_wrong_file_is_an_error_that_says_what_is_wrong(name: str, tmp_path: Path) -> None:
    content, said = WRONG_FILES[name]
    file = tmp_path / "program.json"
    file.write_bytes(content)
    with pytest.raises(ValueError) as error:
        load(str(file))
    assert said in str(error.value)


def test_a_byte_order_mark_is_no_obstacle(tmp_path: Path) -> None:
    file = tmp_path / "program.json"
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        file.write_text('{"programs": [[]]}', encoding=encoding)
        assert load(str(file)) == ((),)


def test_what_is_no_file_is_an_error_that_lists_the_named_programs(tmp_path: Path) -> None:
    for path in (str(tmp_path), str(tmp_path / "absent.json"), "", "rings", "\0"):
        with pytest.raises(ValueError) as error:
            load(path)
        assert repr(path) in str(error.value)
        assert "ring" in str(error.value)


def is_program_or_value_error(content: bytes, file: Path) -> None:
    file.write_bytes(content)
    try:
        loaded = load(str(file))
    except ValueError as error:
        assert str(error)
    else:
        assert program(loaded) == loaded


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "program.json"


VALID = json.dumps(
    {
        "programs": [
            [to_json(op) for op in ops] for ops in ring(ranks=2, rounds=1, ordering=NAMED["parity"], style="isend")
        ]
    }
).encode()


@given(st.binary())
@example(VALID)
def test_arbitrary_bytes(scratch: Path, content: bytes) -> None:
    is_program_or_value_error(content, scratch)


@given(st.integers(0, len(VALID)), st.integers(0, len(VALID)), st.binary(max_size=4))
@example(len(VALID), len(VALID), b"")
def test_a_program_with_a_hole_or_a_patch(scratch: Path, start: int, end: int, patch: bytes) -> None:
    is_program_or_value_error(VALID[:start] + patch + VALID[end:], scratch)


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["any", "send", "irecv", "a", ""])
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=2), max_leaves=4)
operation_like = st.fixed_dictionaries(
    {"op": st.sampled_from(["send", "recv", "isend", "irecv", "wait", "compute", "batch"])},
    optional={
        name: st.integers(0, 2) | values
        for name in ("peer", "tag", "nbytes", "request", "requests", "seconds", "comm", "ops")
    },
)


@given(st.lists(st.lists(operation_like | values, max_size=3), max_size=3))
def test_almost_programs(scratch: Path, lists: list[list[Any]]) -> None:
    is_program_or_value_error(json.dumps({"programs": lists}).encode(), scratch)
