"""Statement 8, exhaustively over presence patterns, and the grouped policy beside the two that it replaces."""

import itertools
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model import check
from model.pipelines.serving import CONTROL, DATA, OUTPUT, unroll
from model.program.ops import Batch, Irecv, Isend, Recv, Wait
from model.rings.orderings import BATCHED
from model.rings.orderings import NAMED as ORDERINGS
from model.semantics.libraries import NAMED
from model.semantics.parameters import SemanticsByComm
from model.verdict.arguments import of_its_communicators

BLOCKING = {CONTROL: NAMED["gloo"], DATA: NAMED["rendezvous"]}
ASYNCHRONOUS = {CONTROL: NAMED["gloo"], DATA: NAMED["gloo"]}
Pattern = tuple[bool, ...]


def patterns(longest: int) -> Iterator[Pattern]:
    """Every presence pattern of at most so many iterations that begins and ends with a batch.

    Idle iterations before and after change nothing, which `test_idle_iterations_around...` holds separately.
    """
    yield from [(True,)] if longest else []
    for length in range(2, longest + 1):
        for middle in itertools.product((False, True), repeat=length - 2):
            yield (True, *middle, True)


def longest_run(present: Sequence[bool]) -> int:
    return max((len(list(group)) for batch, group in itertools.groupby(present) if batch), default=0)


def verdict(ranks: int, depth: int, name: str, present: Sequence[bool], world: SemanticsByComm) -> str:
    made = unroll(ranks=ranks, depth=depth, ordering=ORDERINGS[name], present=present)
    return check(made, of_its_communicators(made, world)).verdict


def predicted(name: str, ranks: int, present: Sequence[bool], *, blocking: bool) -> str:
    closes = name == "receive-first" or (name == "send-first" and blocking)
    return "deadlock" if closes and longest_run(present) >= ranks else "ok"


@pytest.mark.parametrize("name", ORDERINGS)
@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_statement_8_with_a_blocking_isend(ranks: int, depth: int, name: str) -> None:
    seen = set()
    for present in patterns(min(2 * ranks + depth, 8 if depth == 0 else 7)):
        found = verdict(ranks, depth, name, present, BLOCKING)
        assert found == predicted(name, ranks, present, blocking=True), present
        seen.add(found)
    assert seen == ({"ok", "deadlock"} if name in ("send-first", "receive-first") else {"ok"})


@pytest.mark.parametrize("name", ["send-first", "receive-first"])
@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize("ranks", [2, 3])
def test_statement_8_with_an_asynchronous_isend(ranks: int, depth: int, name: str) -> None:
    for present in patterns(2 * ranks + depth):
        found = verdict(ranks, depth, name, present, ASYNCHRONOUS)
        assert found == predicted(name, ranks, present, blocking=False), present


@pytest.mark.parametrize("name", ORDERINGS)
@pytest.mark.parametrize("ranks", [2, 3])
def test_idle_iterations_around_a_pattern_change_no_verdict(ranks: int, name: str) -> None:
    for present in patterns(ranks + 1):
        for before, after in itertools.product(range(3), repeat=2):
            around = (*[False] * before, *present, *[False] * after)
            assert verdict(ranks, 1, name, around, BLOCKING) == predicted(name, ranks, present, blocking=True), around
    assert verdict(ranks, 1, name, [], BLOCKING) == verdict(ranks, 1, name, [False] * 5, BLOCKING) == "ok"


@given(
    st.integers(5, 6),
    st.integers(0, 2),
    st.sampled_from(sorted(ORDERINGS)),
    st.lists(st.sampled_from([True, True, True, True, False]), max_size=14),
)
@settings(max_examples=40)
def test_statement_8_on_longer_rings(ranks: int, depth: int, name: str, present: list[bool]) -> None:
    assert verdict(ranks, depth, name, present, BLOCKING) == predicted(name, ranks, present, blocking=True)
    assert verdict(ranks, depth, name, present, ASYNCHRONOUS) == predicted(name, ranks, present, blocking=False)


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_the_circuit_of_the_hang_is_the_whole_ring_of_outputs(ranks: int) -> None:
    made = unroll(ranks=ranks, depth=0, ordering=ORDERINGS["send-first"], present=[True] * ranks)
    result = check(made, BLOCKING)
    assert [item.rank for item in result.circuit] == list(range(ranks))
    for item in result.circuit:
        op = made[item.rank][item.index]
        assert isinstance(op, Isend)
        assert op.tag == OUTPUT


def test_every_schedule_of_a_small_loop_agrees() -> None:
    """The explorer, on small cases, with pinned numbers of states."""

    def explored(name: str, ranks: int, batches: int) -> tuple[str, int]:
        made = unroll(ranks=ranks, depth=0, ordering=ORDERINGS[name], present=[True] * batches)
        result = check(made, BLOCKING, engine="explorer")
        return result.verdict, result.states

    assert explored("send-first", 2, 1) == ("ok", 27)
    assert explored("send-first", 2, 2) == ("deadlock", 29)
    assert explored("parity", 2, 2) == ("ok", 46)
    assert explored("parity", 3, 2) == ("ok", 209)
    assert explored("parity", 3, 3) == ("ok", 286)


def test_a_group_holds_what_the_two_halves_would_have_sent_and_received() -> None:
    present = [True, True, False, True]
    for ranks, depth in itertools.product((2, 3, 4), (0, 1, 2)):
        apart = unroll(ranks=ranks, depth=depth, ordering=ORDERINGS["send-first"], present=present, nbytes=7)
        grouped = unroll(ranks=ranks, depth=depth, ordering=BATCHED, present=present, nbytes=7)
        for rank in range(ranks):
            outputs = [op for op in apart[rank] if isinstance(op, Isend | Recv) and op.tag == OUTPUT]
            parts = [part for op in grouped[rank] if isinstance(op, Batch) for part in op.ops]
            for sends in (Isend, Recv | Irecv):
                told = [(op.peer, op.comm) for op in outputs if isinstance(op, sends)]
                assert told == [(op.peer, op.comm) for op in parts if isinstance(op, sends)]
            assert {part.nbytes for part in parts if isinstance(part, Isend)} == {7}
            others = [op for op in apart[rank] if op not in outputs and op != Wait(requests=(OUTPUT,))]
            assert others == [op for op in grouped[rank] if not isinstance(op, Batch)]


def test_an_output_is_exchanged_as_a_group_even_where_one_half_is_missing() -> None:
    """Its other end may be in a group of two, and some libraries send groups by a way of their own."""
    (batch,) = [op for op in unroll(ranks=2, depth=0, ordering=BATCHED, present=[True])[1] if isinstance(op, Batch)][:1]
    assert [type(part) for part in batch.ops] == [Isend]


@pytest.mark.parametrize("name", sorted(set(NAMED) - {"deferred"}))
def test_a_group_finishes_under_every_library_for_every_pattern(name: str) -> None:
    world = {CONTROL: NAMED["gloo"], DATA: NAMED[name].unbuffered()}
    for ranks, depth in ((2, 0), (2, 1), (3, 0), (3, 1)):
        for present in patterns(ranks + 2):
            made = unroll(ranks=ranks, depth=depth, ordering=BATCHED, present=present)
            assert check(made, of_its_communicators(made, world)).verdict == "ok", (ranks, depth, present)
