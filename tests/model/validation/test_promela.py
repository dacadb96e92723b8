"""The export to Promela: what it says, what it refuses, and that names cannot break it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.cli.spin import Promela
from model.program.checked import Program, program
from model.program.ops import ANY, Barrier, Compute, Irecv, Isend, Probe, Recv, Send, Wait
from model.rings.orderings import NAMED, ordering
from model.rings.ring_program import ring
from model.semantics.libraries import bounded, semantics
from model.semantics.lowering import lower
from model.validation.promela import to_promela
from model.validation.spin_ring import capacity, loop, loop_steps
from tests.model.small_programs import any_semantics, programs


def export(made: Program, name: str = "rendezvous") -> str:
    return to_promela(lower(made, semantics(name)))


def test_the_send_first_ring_of_two() -> None:
    text = export(ring(ranks=2, rounds=1, ordering=NAMED["send-first"]))
    process = text[text.index("active proctype T1()") :]
    assert process.splitlines() == [
        "active proctype T1() /* rank 1 */",
        "{",
        "  if :: want1?1 :: meet1!((len(sent1) == 0 && len(want1) == 0 && !(false)) -> 0 : 1) fi; /* send(0) */",
        "  if :: sent0?1 :: meet0?0 fi; /* recv(0) */",
        "}",
    ]


def test_a_bounded_channel_says_how_many_may_wait() -> None:
    made = program([[Send(peer=1)] * 3, [Recv(peer=0)] * 3])
    text = to_promela(lower(made, bounded(2)))
    assert text.count("len(sent0) <= 1 -> sent0!1") == 2  # the second and the third; the first has nothing before it
    assert "len(sent0) <= 0 -> sent0!1" in text


@pytest.mark.parametrize(
    ("made", "name", "what"),
    [
        ([[Recv(peer=ANY)], [Send(peer=0)]], "eager", "wildcard"),
        ([[Probe(peer=1), Recv(peer=1)], [Send(peer=0)]], "eager", "probes"),
        ([[Barrier()], [Barrier()]], "eager", "barriers"),
        ([[Send(peer=1)], [Recv(peer=0)]], "nccl-cold", "cold connections"),
        ([[Send(peer=1)], [Recv(peer=0)]], "nccl", "queues"),
        ([[Send(peer=1), Send(peer=1, tag=1)], [Recv(peer=0), Recv(peer=0, tag=1)]], "bounded(1)", "several tags"),
        ([[Send(peer=1)] * 256, [Recv(peer=0)] * 256], "eager", "too many"),
        ([[Compute()]] * 256, "eager", "too many"),
    ],
)
def test_what_has_no_export_is_named(made: list[list[object]], name: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        export(program(made), name)  # type: ignore[arg-type]


@settings(max_examples=200)
@given(programs(), any_semantics)
def test_every_export_is_ascii_and_balanced(made: Program, rules: object) -> None:
    try:
        text = to_promela(lower(made, rules))  # type: ignore[arg-type]
    except ValueError as error:
        assert len(str(error).splitlines()) == 1
        return
    assert text.isascii()
    assert text.count("{") == text.count("}")
    assert text.count("/*") == text.count("*/")
    assert text.count("active proctype") == len(made)


@given(st.text(max_size=20))
def test_a_name_cannot_end_its_comment(name: str) -> None:
    made = program([[Isend(peer=1, request=name, comm=name), Wait(requests=(name,))], [Irecv(peer=0, request=name)]])
    text = export(made)
    assert text.isascii()
    assert text.count("*/") == text.count("/*")
    assert all(line.count("/*") <= 1 for line in text.splitlines())


def test_the_loop_has_the_vector_and_the_slots() -> None:
    text = loop(ranks=4, rounds=3, ordering=NAMED["parity"], semantics=bounded(2))
    assert "(r == 0 || r == 2)" in text
    assert "chan c[P] = [2] of { bit };" in text
    assert "(false)" in loop(ranks=4, rounds=3, ordering=NAMED["receive-first"], semantics=bounded(0))


@pytest.mark.parametrize(("name", "slots"), [("rendezvous", 0), ("bounded(1)", 1), ("bounded(9)", 3), ("eager", 3)])
def test_capacity(name: str, slots: int) -> None:
    assert capacity(semantics(name), rounds=3) == slots


def test_the_loop_as_steps() -> None:
    steps = loop_steps(ranks=2, rounds=2, ordering=NAMED["send-first"])[0]
    assert [getattr(op, "label", op.kind) for op in steps] == 2 * ["k < K", "choice", "send", "recv", "k++"] + ["else"]


def test_the_command_prints_either_encoding(capsys: pytest.CaptureFixture[str]) -> None:
    assert Promela(program="ring", ranks=3, ordering="SRS").run() == 0
    assert capsys.readouterr().out == export(ring(ranks=3, rounds=1, ordering=ordering("SRS", 3)))
    assert Promela(program="ring", ranks=3, encoding="loop").run() == 0
    out = capsys.readouterr().out
    assert out == loop(ranks=3, rounds=1, ordering=NAMED["parity"], semantics=semantics("rendezvous"))


@pytest.mark.parametrize("wrong", [{"style": "isend"}, {"nbytes": 2}, {"ranks": 1}, {"rounds": 0}, {"ordering": "SR"}])
def test_the_loop_says_what_it_cannot_say(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"straight|give"):
        Promela(program="ring", encoding="loop", **wrong).run()
