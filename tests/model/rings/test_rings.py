"""Rings, exhaustively: statements 3 and 7, pinned state counts, and an implementation that shares no code."""

import itertools

import pytest

from model import check
from model.program.checked import Program
from model.program.ops import Recv, Send
from model.rings.orderings import NAMED, ordering
from model.rings.ring_program import STYLES, Style, ring
from model.semantics.libraries import NAMED as LIBRARIES
from model.semantics.libraries import semantics

ALL_SEMANTICS = [*LIBRARIES, "bounded(0)", "bounded(1)", "bounded(2)"]


def vectors(ranks: int) -> list[str]:
    return ["".join(letters) for letters in itertools.product("SR", repeat=ranks)]


# States by number of ranks (2 to 6) and of rounds (1, 2, 3), all with the verdict ok.
PINNED = {
    ("rendezvous", "parity"): [(3, 5, 7), (4, 7, 10), (7, 13, 19), (10, 20, 30), (18, 38, 58)],
    ("rendezvous", "last-sends-first"): [(3, 5, 7), (4, 7, 10), (5, 9, 13), (6, 11, 16), (7, 13, 19)],
    ("rendezvous", "one-receives-first"): [(3, 5, 7), (4, 7, 10), (5, 9, 13), (6, 11, 16), (7, 13, 19)],
    ("bounded(1)", "send-first"): [(7, 13, 19), (18, 38, 58), (47, 117, 187), (123, 370, 622), (322, 1186, 2110)],
    ("bounded(1)", "parity"): [(5, 9, 13), (13, 28, 43), (23, 51, 79), (62, 180, 300), (110, 327, 547)],
    ("bounded(1)", "last-sends-first"): [(5, 9, 13), (7, 13, 19), (9, 17, 25), (11, 21, 31), (13, 25, 37)],
    ("bounded(1)", "one-receives-first"): [(5, 9, 13), (13, 28, 43), (34, 89, 145), (89, 286, 496), (233, 924, 1714)],
    ("bounded(2)", "send-first"): [(7, 15, 23), (18, 53, 88), (47, 195, 355), (123, 725, 1472), (322, 2703, 6194)],
    ("bounded(2)", "parity"): [(5, 9, 13), (13, 31, 49), (23, 55, 87), (62, 217, 382), (110, 381, 667)],
    ("bounded(2)", "last-sends-first"): [(5, 9, 13), (7, 13, 19), (9, 17, 25), (11, 21, 31), (13, 25, 37)],
    ("bounded(2)", "one-receives-first"): [(5, 9, 13), (13, 31, 49), (34, 113, 197), (89, 419, 816), (233, 1561, 3432)],
    ("eager", "send-first"): [(7, 15, 23), (18, 53, 91), (47, 195, 383), (123, 725, 1652), (322, 2703, 7199)],
    ("eager", "parity"): [(5, 9, 13), (13, 31, 49), (23, 55, 87), (62, 217, 387), (110, 381, 673)],
    ("eager", "last-sends-first"): [(5, 9, 13), (7, 13, 19), (9, 17, 25), (11, 21, 31), (13, 25, 37)],
    ("eager", "one-receives-first"): [(5, 9, 13), (13, 31, 49), (34, 113, 201), (89, 419, 857), (233, 1561, 3716)],
}
# Deadlocks in the initial state: one state, whatever the number of ranks and rounds.
STUCK_AT_ONCE = {
    ("rendezvous", "send-first"),
    ("rendezvous", "receive-first"),
    ("bounded(1)", "receive-first"),
    ("bounded(2)", "receive-first"),
    ("eager", "receive-first"),
}


def test_the_pinned_table_is_complete() -> None:
    promises = ("rendezvous", "bounded(1)", "bounded(2)", "eager")
    assert set(PINNED) | STUCK_AT_ONCE == set(itertools.product(promises, NAMED))
    assert not set(PINNED) & STUCK_AT_ONCE


@pytest.mark.parametrize(("promise", "name"), PINNED)
def test_pinned_states(promise: str, name: str) -> None:
    found = [
        tuple(
            check(ring(ranks=ranks, rounds=rounds, ordering=NAMED[name]), semantics(promise), engine="explorer").states
            for rounds in (1, 2, 3)
        )
        for ranks in range(2, 7)
    ]
    assert found == PINNED[promise, name]


@pytest.mark.parametrize(("promise", "name"), PINNED)
def test_pinned_verdicts(promise: str, name: str) -> None:
    for ranks, rounds in itertools.product(range(2, 7), (1, 2, 3)):
        program = ring(ranks=ranks, rounds=rounds, ordering=NAMED[name])
        assert check(program, semantics(promise)).verdict == "ok"


@pytest.mark.parametrize(("promise", "name"), sorted(STUCK_AT_ONCE))
def test_pinned_deadlocks(promise: str, name: str) -> None:
    step = 1 if name == "send-first" else -1  # a sender waits for the next rank, a receiver for the previous
    for ranks, rounds in itertools.product(range(2, 7), (1, 2, 3)):
        program = ring(ranks=ranks, rounds=rounds, ordering=NAMED[name])
        result = check(program, semantics(promise), engine="explorer")
        assert (result.verdict, result.states, result.transitions, result.path) == ("deadlock", 1, 0, ())
        assert {item.rank: item.waits_for for item in result.blocked} == {
            rank: ((rank + step) % ranks,) for rank in range(ranks)
        }
        assert len(result.circuit) == ranks


@pytest.mark.parametrize(
    ("promise", "style", "states"),
    [
        ("rendezvous", "isend-wait", 13),
        ("rendezvous", "isend", 24),
        ("rendezvous", "batch", 113),
        ("bounded(1)", "isend", 75),
        ("gloo", "send", 7),
        ("gloo", "isend-wait", 42),
        ("gloo", "isend", 57),
        ("gloo", "batch", 113),
        ("mpich", "send", 31),
        ("eager", "isend", 80),
    ],
)
def test_pinned_states_of_other_styles(promise: str, style: Style, states: int) -> None:
    program = ring(ranks=3, rounds=2, ordering=NAMED["parity"], style=style)
    result = check(program, semantics(promise), engine="explorer")
    assert (result.verdict, result.states) == ("ok", states)


def test_states_of_two_batches_counted_by_hand() -> None:
    """Ranks post, post and wait: 3 x 3 positions before either wait is over, then (3, 2), (2, 3) and (3, 3)."""
    program = ring(ranks=2, rounds=1, ordering=NAMED["send-first"], style="batch")
    assert check(program, semantics("gloo"), engine="explorer").states == 12


@pytest.mark.parametrize("promise", ["rendezvous", "xccl", "bounded(0)"])
@pytest.mark.parametrize("ranks", range(2, 7))
def test_statement_3_exactly_the_uniform_orderings_deadlock(promise: str, ranks: int) -> None:
    deadlocks = {
        vector
        for vector in vectors(ranks)
        for result in [
            check(ring(ranks=ranks, rounds=1, ordering=ordering(vector, ranks)), semantics(promise), engine="explorer")
        ]
        if result.hangs
    }
    assert deadlocks == {"S" * ranks, "R" * ranks}


@pytest.mark.parametrize("rounds", [2, 3])
@pytest.mark.parametrize("ranks", range(2, 7))
def test_statement_3_holds_for_more_rounds(ranks: int, rounds: int) -> None:
    for vector in vectors(ranks):
        program = ring(ranks=ranks, rounds=rounds, ordering=ordering(vector, ranks))
        verdict = check(program, semantics("rendezvous"), engine="explorer").verdict
        assert verdict == ("deadlock" if len(set(vector)) == 1 else "ok"), vector


@pytest.mark.parametrize("promise", ALL_SEMANTICS)
@pytest.mark.parametrize("style", ["send", "isend-wait", "isend"])
@pytest.mark.parametrize("nbytes", [0, 1, 8112, 8113])
def test_statement_7_receive_first_deadlocks_under_every_semantics(promise: str, style: Style, nbytes: int) -> None:
    for ranks in range(2, 6):
        program = ring(ranks=ranks, rounds=2, ordering=NAMED["receive-first"], style=style, nbytes=nbytes)
        result = check(program, semantics(promise), engine="explorer")
        assert result.verdict == "deadlock"
        assert len(result.circuit) == ranks


@pytest.mark.parametrize("promise", ALL_SEMANTICS)
@pytest.mark.parametrize("style", STYLES)
def test_every_other_ordering_is_ok_under_every_semantics(promise: str, style: Style) -> None:
    """But where a transfer starts only at its wait, at the end of the step, every rank receives first."""
    late = promise == "deferred" and style == "isend"
    for ranks in range(2, 5):
        for vector in vectors(ranks):
            if len(set(vector)) > 1:
                program = ring(ranks=ranks, rounds=1, ordering=ordering(vector, ranks), style=style, nbytes=8113)
                verdict = check(program, semantics(promise), engine="explorer").verdict
                assert verdict == ("deadlock" if late else "ok"), vector


def reference(program: Program, capacity: float) -> tuple[str, int]:
    """Verdict and number of states of blocking sends and receives over channels of `capacity` messages.

    A state is the position of every rank; what is in a channel follows from it, as there is one tag.
    """
    seen, todo, finished = {(0,) * len(program)}, [(0,) * len(program)], tuple(map(len, program))
    verdict = "ok"
    while todo:
        at = todo.pop()

        def done(rank: int, kind: type, peer: int, at: tuple[int, ...] = at) -> int:
            return sum(isinstance(op, kind) and getattr(op, "peer", None) == peer for op in program[rank][: at[rank]])

        after = set()
        for rank in range(len(program)):
            if at[rank] == len(program[rank]):
                continue
            op = program[rank][at[rank]]
            assert isinstance(op, Send | Recv)
            if isinstance(op, Recv):
                moves = [rank] if done(op.peer, Send, rank) > done(rank, Recv, op.peer) else []
            else:
                waiting = done(rank, Send, op.peer) - done(op.peer, Recv, rank)
                at_recv = at[op.peer] < len(program[op.peer]) and program[op.peer][at[op.peer]] == Recv(peer=rank)
                moves = [rank] if waiting < capacity else [rank, op.peer] if at_recv and capacity == 0 else []
            if moves:
                after.add(tuple(head + (number in moves) for number, head in enumerate(at)))
        if not after and at != finished:
            verdict = "deadlock"
        todo += after - seen
        seen |= after
    return verdict, len(seen)


@pytest.mark.parametrize(
    ("promise", "capacity"), [("rendezvous", 0), ("bounded(1)", 1), ("bounded(2)", 2), ("eager", float("inf"))]
)
@pytest.mark.parametrize("ranks", range(2, 6))
def test_an_independent_implementation_sees_the_same_states(promise: str, capacity: float, ranks: int) -> None:
    for vector, rounds in itertools.product(vectors(ranks), (1, 2, 3) if ranks < 5 else (1, 2)):
        program = ring(ranks=ranks, rounds=rounds, ordering=ordering(vector, ranks))
        result = check(program, semantics(promise), engine="explorer")
        assert (result.verdict, result.states) == reference(program, capacity), (vector, rounds)
