"""Programs from files; whatever is in a file, it is a program or a ValueError of one line that says what would do."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model.program.checked import program
from model.program.files import load, read
from model.program.json_form import to_json
from model.program.ops import Recv, Send
from model.program.text_form import parse_program, program_text
from model.rings.orderings import NAMED
from model.rings.ring_program import STYLES, Style, ring

PAIR = ((Send(peer=1), Recv(peer=1)), (Recv(peer=0), Send(peer=0)))
TEXT = "0: send(1); recv(1)\n1: recv(0); send(0)\n"


@pytest.mark.parametrize("style", STYLES)
def test_a_program_comes_back_from_its_file(style: Style, tmp_path: Path) -> None:
    made = ring(ranks=3, rounds=2, ordering=NAMED["parity"], style=style, nbytes=5)
    file = tmp_path / "ring.json"
    file.write_text(json.dumps({"programs": [[to_json(op) for op in ops] for ops in made]}))
    assert load(file) == made
    file.write_text(program_text(made))
    assert load(file) == made


@pytest.mark.parametrize(
    "content",
    [
        TEXT,
        TEXT.replace("0: ", "").replace("1: ", ""),
        TEXT.replace("\n", "\r\n"),
        TEXT.replace(" ", "\t"),
        f"# a pair\n\n  {TEXT}# the end",
        TEXT.replace("send(1)", "send ( 1 , tag = 0 ) ").replace("\n", ";\n"),
    ],
    ids=["ranks", "no ranks", "CRLF", "tabs", "comments", "spaces"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_the_text_form_in_every_dress(content: str, encoding: str) -> None:
    assert read(content.encode(encoding)) == PAIR


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_json_in_every_encoding(encoding: str) -> None:
    assert read('{"programs": [[]]}'.encode(encoding)) == ((),)


def test_a_rank_without_operations_has_its_label_or_none_of_them() -> None:
    assert read(b"0:\n1: compute()\n")[0] == ()
    with pytest.raises(ValueError, match="line 2: no rank stands before it; write 1: send\\(0\\), or"):
        read(b"0: recv(1)\nsend(0)\n")
    with pytest.raises(ValueError, match="line 2: a rank stands before it and before the lines above none"):
        read(b"recv(1)\n1: send(0)\n")


def nested(inner: str, depth: int) -> bytes:
    return ('{"programs":[[' + '{"op":"batch","ops":[' * depth + inner + "]}" * depth + "]]}").encode()


ISEND_JSON = '{"op":"isend","peer":0,"request":0}'
JSON = "begins as JSON and is not: "
WRONG_FILES = {
    "empty": (b"", "is empty; write one line a rank, such as 0: send(1); recv(1) and then 1: "),
    "blank": (b" \n", "is empty; write one line a rank, such as 0: send(1); recv(1) and then 1: "),
    "comments alone": (b"# nothing\n", "without ranks"),
    "prose": (b"Dear all,", "'all' stands where ( after Dear is expected; write one like 0: send(1); recv(1)"),
    "Python": (b"#!/usr/bin/python\nimport torch\n", "is a Python file; write one line a rank, such as 0: send(1)"),
    "no request": (b"isend(1)\nrecv(0)", "line 1: isend needs a request: isend(1, request=a)"),
    "no request beside a tag": (b"irecv(1, tag=3)", "line 1: irecv needs a request: irecv(1, request=a, tag=3)"),
    "a request without its name": (b"isend(1, a)", "line 1: 'a' of isend has no name; write request=a or the like"),
    "no peer": (b"0: send()", "line 1: send needs a peer: send(1)"),
    "a peer by another name": (
        b"0: send(dst=1)",
        "line 1: unknown field 'dst' of send; it has comm, ",
    ),
    "a wrong tag beside": (b"0: send(tag=x)", "line 1: tag of send is 'x'; give int"),
    "no peer beside words": (b'0: send(comm="a b")', 'line 1: send needs a peer: send(1, comm="a b")'),
    "no rank": (b"0: send(1)\nrecv(0)", "line 2: no rank stands before it; write 1: recv(0), or join"),
    "rank in words": (b"rank 0: send(1)", "line 1: rank 0 is expected, and rank 0 stands there; write 0: send(1)"),
    "no source": (b"0: sendrecv(1)", "line 1: sendrecv needs a source: sendrecv(1, source=1)"),
    "commas between": (b"0: send(1), recv(1)", "line 1: ',' stands after an operation; put ; between two: send(1); r"),
    "not closed": (b"0: send(1", "line 1: the end stands where , or ) is expected; write one like 0: send(1); recv(1)"),
    "no brackets": (b"0: send 1", "line 1: '1' stands where ( after send is expected"),
    "ranks from 1": (b"1: send(2)", "line 1: rank 0 is expected, and 1 stands there; write 0: send(2)"),
    "truncated": (b'{"programs": [[{"op": "send", "pee', JSON),
    "more than one value": (b'{"programs": [[]]}{}', JSON),
    "not UTF-8": (b'{"programs": [[{"op": "send", "comm": "\xff"}]]}', "is no text in UTF-8"),
    "binary": (bytes(range(256)), "is no text in UTF-"),
    "half a UTF-16 pair": ("{}".encode("utf-16")[:3], "is no text in UTF-16"),
    "deep lists": (b"[" * 100_000, JSON),
    "deep lists, closed": (b"[" * 100_000 + b"]" * 100_000, JSON),
    "deep objects": (b'{"programs":' * 100_000, JSON),
    "long number": (b'{"programs": [[{"op": "send", "peer": ' + b"9" * 10_000 + b"}]]}", JSON),
    "large number": (b'{"programs": [[{"op": "send", "peer": 99999999999999999999999}]]}', "99999999999999999999999"),
    "exponent": (b'{"programs": [[{"op": "send", "peer": 1e999}]]}', "inf"),
    "NaN": (b'{"programs": [[{"op": "compute", "seconds": NaN}]]}', "nan"),
    "Infinity": (b'{"programs": [[{"op": "compute", "seconds": Infinity}]]}', "inf"),
    "nested batches": (nested(ISEND_JSON, 2), "rank 0: a batch stands in a batch; it holds only isend and irecv"),
    "deeply nested batches": (nested(ISEND_JSON, 380), "rank 0: a batch stands in a batch; it holds only isend and"),
    "a list": (b"[[]]", '"programs"'),
    "a number": (b"3", "'3' stands where an operation is expected"),
    "null": (b"null", "( after null"),
    "no programs": (b"{}", '"programs"'),
    "another key": (b'{"program": [[]]}', '"programs"'),
    "one key too many": (b'{"programs": [[]], "ranks": 4}', "nothing else"),
    "programs is an object": (b'{"programs": {"0": []}}', "one list of operations per rank"),
    "programs is null": (b'{"programs": null}', "one list of operations per rank"),
    "a rank is an operation": (b'{"programs": [{"op": "send", "peer": 1}]}', "one list of operations per rank"),
    "no ranks": (b'{"programs": []}', "without ranks"),
    "an operation is a list": (b'{"programs": [[["send", 1]]]}', "['send', 1]"),
    "an unknown operation": (b'{"programs": [[{"op": "bcast"}]]}', "'bcast'"),
    "no request in JSON": (
        b'{"programs": [[{"op": "isend", "peer": 1}]]}',
        'rank 0: isend needs a request: {"op": "isend", "peer": 1, "request": "a"}',
    ),
}


def test_the_programs_that_are_suggested_are_programs() -> None:
    with pytest.raises(ValueError) as error:
        read(b"")
    text, _, as_json = str(error.value).partition("such as ")[2].partition(", or JSON such as ")
    assert len(read(text.replace(" and then ", "\n").encode())) == len(read(as_json.encode())) == 2


def test_every_line_that_is_suggested_is_read() -> None:
    suggested = []
    for content, _ in WRONG_FILES.values():
        with pytest.raises(ValueError) as error:
            read(content)
        suggested += re.findall(r"(?:write \d+: |needs an? \w+: )(\w.*?)(?:, or join.*)?$", str(error.value))
    assert len(suggested) >= 7
    for line in suggested:
        assert parse_program(f"0: {line}\n1:\n2:")


@pytest.mark.parametrize("name", WRONG_FILES)
def test_a_wrong_file_is_an_error_that_says_what_is_wrong(name: str, tmp_path: Path) -> None:
    content, words = WRONG_FILES[name]
    file = tmp_path / "program.json"
    file.write_bytes(content)
    with pytest.raises(ValueError) as error:
        load(file)
    assert words in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_what_is_no_file_is_an_error_that_says_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a folder; name a file in it"):
        load(tmp_path)
    for path in (tmp_path / "absent.json", Path("\0")):
        with pytest.raises(ValueError, match="cannot be read"):
            load(path)


def is_program_or_value_error(content: bytes, file: Path) -> None:
    file.write_bytes(content)
    try:
        loaded = load(file)
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
