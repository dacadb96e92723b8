"""What may be given for a program and for a library, and what is said to everything else."""

import json
from pathlib import Path
from typing import Any

import pytest

import model
from model.program.checked import Program, program
from model.program.ops import Recv, Send
from model.rings.orderings import NAMED as ORDERINGS
from model.rings.ring_program import ring_table
from model.semantics.libraries import NAMED
from model.semantics.table import table_of
from model.verdict.arguments import as_lists, as_program, as_semantics, communicators, of_its_communicators
from model.verdict.decide import check, check_contract

TEXT = "0: send(1); recv(1)\n1: send(0); recv(0)"
PROGRAM: Program = program([[Send(peer=1), Recv(peer=1)], [Send(peer=0), Recv(peer=0)]])
JSON = {"programs": [[{"op": "send", "peer": 1}, {"op": "recv", "peer": 1}]] * 1 + [[{"op": "send", "peer": 0}]]}
TWO = "0: send(1, comm=a); recv(1, comm=b)\n1: recv(0, comm=a); send(0, comm=b)"


@pytest.mark.parametrize(
    "given",
    [
        PROGRAM,
        TEXT,
        TEXT.encode(),
        f"# a pair\n{TEXT}\n",
        ["send(1); recv(1)", "send(0); recv(0)"],
        [["send(1)", "recv(1)"], ["send(0)", "recv(0)"]],
        [[Send(peer=1), "recv(1)"], (Send(peer=0), Recv(peer=0))],
        [list(ops) for ops in PROGRAM],
    ],
)
def test_one_program_in_many_forms(given: Any) -> None:
    assert as_program(given) == PROGRAM
    assert check(given, "rendezvous") == check(PROGRAM, NAMED["rendezvous"])
    assert check_contract(given) == check_contract(PROGRAM)


def test_files_by_path_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, data = tmp_path / "pair (1).txt", tmp_path / "pair.json"
    text.write_text(TEXT)
    data.write_text(json.dumps(JSON))
    monkeypatch.chdir(tmp_path)
    for given in (text, str(text), "pair (1).txt"):
        assert as_program(given) == PROGRAM
    assert as_program(data) == as_program(JSON) == as_program(json.dumps(JSON))


def test_a_program_that_is_one_already_is_not_made_again() -> None:
    assert as_program(PROGRAM) is PROGRAM


def test_a_table_goes_to_the_event_graph() -> None:
    made = table_of(PROGRAM)
    assert check(made, "rendezvous").verdict == "deadlock"
    assert check(ring_table(ranks=6, rounds=2, ordering=ORDERINGS["parity"]), {"world": "gloo"}).engine == "graph"
    with pytest.raises(ValueError, match="leave the engine out"):
        check(made, "rendezvous", engine="explorer")
    with pytest.raises(ValueError, match="not a table"):
        as_lists(made)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (3, "this is int 3"),
        (None, "NoneType"),
        (Send(peer=1), "this is Send"),
        ([], "without ranks"),
        ([3], "rank 0 is int 3"),
        ([[3]], "rank 0 holds int 3"),
        ([["send(1)"], ["recieve(0)"]], "rank 1: .*recieve"),
        (["send(1)", ["recv(0)"]], "rank 0 is str"),
        ([["send(4)"]], "there is no rank 4"),
        ("ring.txt", "'ring.txt' is neither a program nor a file"),
        ("x" * 5000, "is neither a program nor a file"),
        ("a\0b", "is neither a program nor a file"),
        (Path("absent.txt"), "'absent.txt' cannot be read"),
        (Path("."), r"'\.' is a folder"),
        ("0: send(1); recieve(1)\n1: recv(0)", "recieve"),
        ({"program": []}, "programs"),
    ],
)
def test_what_is_no_program_is_an_error_of_one_line(given: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        check(given, "rendezvous")
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 400


def test_libraries_by_name_by_object_and_by_communicator() -> None:
    nccl, gloo = NAMED["nccl"], NAMED["gloo"]
    assert as_semantics("nccl") == as_semantics(nccl) == {"*": nccl}
    assert as_semantics({"a": "nccl", "b": gloo}, as_program(TWO)) == {"a": nccl, "b": gloo}
    assert as_semantics({"a": "nccl", "*": gloo}, as_program(TWO)) == {"a": nccl, "*": gloo}
    assert check(TWO, {"a": "nccl", "b": gloo}).verdict == "ok"
    assert communicators(as_program(TWO)) == {"a", "b"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("ncll", "unknown semantics 'ncll'"),
        (3, "a library is expected, and this is int 3"),
        (None, "a library is expected"),
        (["nccl"], "a library is expected, and this is list"),
        ({}, "no library is given"),
        ({"a": "nccl", "c": "nccl", "*": "gloo"}, "no communicator 'c'; it uses 'a', 'b'"),
        ({"a": "nccl"}, "no library for communicator 'b'"),
        ({"a": "nccl", "b": 3}, "a library is expected"),
        ({"a": "nccl", "b": "ncll"}, "unknown semantics"),
        ({1: "nccl"}, "communicator 1 is int"),
    ],
)
def test_what_is_no_library_is_an_error_of_one_line(given: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        check(TWO, given)
    assert len(str(error.value).splitlines()) == 1


def test_a_program_without_messages_asks_for_no_library() -> None:
    for library in ("nccl", {}, {"world": "nccl"}, {"*": "nccl"}):
        assert check([["compute()"]], library).verdict == "ok"
        assert model.check([["compute()"]], library).verdict == "ok"


def test_a_misspelt_communicator_is_told_also_where_there_are_no_messages() -> None:
    with pytest.raises(ValueError, match="no communicator 'wrld'; it uses none, as it has no messages"):
        check("0: barrier()\n1: barrier()", {"wrld": "nccl"})


def test_of_the_libraries_of_a_protocol_those_that_a_program_uses() -> None:
    declared = as_semantics({"a": "nccl", "b": "gloo", "c": "eager"})
    assert of_its_communicators(as_program(TWO), declared) == {"a": NAMED["nccl"], "b": NAMED["gloo"]}
    assert of_its_communicators(as_program([["compute()"]]), declared) == {}
    with pytest.raises(ValueError, match="communicator 'b'"):
        of_its_communicators(as_program(TWO), {"a": NAMED["nccl"]})


@pytest.mark.parametrize("given", [TEXT, "0: barrier()\n1: barrier()", "0: recv(any)\n1: send(0)"])
def test_an_unknown_engine_or_buffering_is_told_whatever_the_program(given: str) -> None:
    for engine in ("grph", "", 3, ["graph"]):
        with pytest.raises(ValueError, match=r"unknown engine .*; choose one of auto, explorer, schedule, graph"):
            check(given, "rendezvous", engine=engine)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown buffering 'some'; choose one of zero, infinite, either"):
        check_contract(given, buffering="some")  # type: ignore[arg-type]
    assert check(given, "rendezvous", engine="auto") == check(given, "rendezvous")


@pytest.mark.parametrize("most", ["5", 1.5, True, None, 0])
def test_the_most_states_are_a_whole_number(most: Any) -> None:
    for engine in ("explorer", None):
        with pytest.raises(ValueError, match=r"max_states is .*; give"):
            check(TEXT, "rendezvous", engine=engine, max_states=most)
