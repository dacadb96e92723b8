"""Cures: of random programs that hang, each is checked, keeps its messages and its work; and a refusal has a reason."""

from collections import Counter

from hypothesis import given, settings

from model.program.checked import Program, parts
from model.program.ops import Compute, Irecv, Isend, Recv, Send, Sendrecv
from model.program.text_form import parse_program
from model.semantics.libraries import NAMED
from model.semantics.parameters import Semantics
from model.synthesis.cure import candidates, propose, why_no_order
from model.verdict.decide import check
from tests.model.small_programs import any_semantics, programs


def messages(made: Program) -> Counter[tuple[object, ...]]:
    """Both ends of every message, and the work, by rank."""
    found: Counter[tuple[object, ...]] = Counter()
    for rank, ops in enumerate(made):
        for op in (part for whole in ops for part in parts(whole)):
            if isinstance(op, Send | Isend | Sendrecv):
                found["send", rank, op.peer, op.tag, op.nbytes] += 1
            if isinstance(op, Recv | Irecv):
                found["recv", rank, op.peer, op.tag] += 1
            if isinstance(op, Sendrecv):
                found["recv", rank, op.source, op.source_tag] += 1
            if isinstance(op, Compute):
                found["compute", rank, op.label, op.seconds] += 1
    return found


@settings(max_examples=150)
@given(programs(native=True), any_semantics)  # no probes: libraries with queues have none
def test_a_proposed_cure_finishes_and_keeps_messages_and_work(made: Program, rules: Semantics) -> None:
    result = check(made, rules)
    if not result.hangs:
        return
    cure = propose(made, rules, result)
    if cure is not None:
        assert check(cure.program, rules).verdict == "ok"
        assert cure.program != made and cure.what
        assert messages(cure.program) == messages(made)


def test_the_smallest_change_comes_first() -> None:
    ring = parse_program("0: send(1); recv(2)\n1: send(2); recv(0)\n2: send(0); recv(1)")
    grouped = parse_program(
        "0: batch(irecv(1, request=r), isend(1, request=s))\n1: batch(irecv(0, request=r), isend(0, request=s))"
    )
    late = parse_program("0: isend(1, request=s); recv(1); wait(s)\n1: isend(0, request=s); recv(0); wait(s)")
    for made, library, what in (
        (ring, "rendezvous", "on rank 0, do send(1) after recv(2)"),
        (grouped, "xccl-group", "in every batch, send before you receive"),
        (late, "deferred", "on every rank, make one batch of what stands together"),
    ):
        result = check(made, NAMED[library])
        cure = propose(made, NAMED[library], result)
        assert result.hangs and cure is not None and cure.what == what
        assert {item.what for item in candidates(made, result)} >= {what}


def test_where_no_order_helps_the_reason_is_told() -> None:
    for text, said in (
        ("0: send(1)\n1: compute()", "the other end is missing"),
        ("0: recv(1); send(1)\n1: recv(0); compute(label=x); send(0)", ""),
    ):
        made = parse_program(text)
        result = check(made, NAMED["rendezvous"])
        assert result.hangs
        cure = propose(made, NAMED["rendezvous"], result)
        assert (cure is None) is bool(said)
        assert said in why_no_order(made)
