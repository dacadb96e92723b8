"""Orders that cannot deadlock: of every small pattern, and of the schedule that swapping does not cure."""

import itertools
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.pipelines.torch_schedules import load, program_of, rows_csv, schedule
from model.program.checked import Program
from model.program.ops import Compute, Recv, Send
from model.semantics.libraries import NAMED
from model.synthesis.orders import of_pattern, of_precedence
from model.synthesis.patterns import Pattern, Transfer, from_json
from model.synthesis.precedence_of import of_schedule
from model.validation.reported_hangs import known_hangs
from model.verdict.decide import check


@st.composite
def patterns(draw: st.DrawFn) -> Pattern:
    ranks = draw(st.integers(2, 5))
    ends = st.tuples(st.integers(0, ranks - 1), st.integers(0, ranks - 1)).filter(lambda pair: pair[0] != pair[1])
    chosen = draw(st.lists(ends, min_size=1, max_size=6))
    return Pattern(ranks=ranks, transfers=tuple(Transfer(source=source, target=target) for source, target in chosen))


def ends_of(made: Program) -> tuple[Counter[tuple[int, int]], Counter[tuple[int, int]]]:
    """(sent, received) messages by (source, target)."""
    sent = Counter((rank, op.peer) for rank, ops in enumerate(made) for op in ops if isinstance(op, Send))
    return sent, Counter((op.peer, rank) for rank, ops in enumerate(made) for op in ops if isinstance(op, Recv))


def fewest(pattern: Pattern) -> int:
    """The fewest steps, by trying every assignment of steps to transfers."""
    ends = [{item.source, item.target} for item in pattern.transfers]
    for steps in itertools.count(1):
        for times in itertools.product(range(steps), repeat=len(ends)):
            pairs = itertools.combinations(zip(times, ends, strict=True), 2)
            if not any(first[0] == second[0] and first[1] & second[1] for first, second in pairs):
                return steps
    raise AssertionError


@settings(max_examples=60)
@given(patterns())
def test_statement_9_every_pattern_has_an_order(pattern: Pattern) -> None:
    found = of_pattern(pattern)
    wanted = Counter((item.source, item.target) for item in pattern.transfers)
    assert found.result is not None and found.result.verdict == "ok"
    assert ends_of(found.program) == (wanted, wanted)
    for rules in NAMED.values():
        if rules.connection == "warm" and rules.order == "none":
            assert check(found.program, rules).verdict == "ok", rules.name
    assert found.bound <= fewest(pattern) <= found.steps
    if found.gap == 0:
        assert found.steps == fewest(pattern)


@settings(max_examples=20)
@given(patterns(), st.integers(2, 3))
def test_rounds_repeat_the_pattern(pattern: Pattern, rounds: int) -> None:
    found = of_pattern(pattern, rounds=rounds)
    wanted = Counter((item.source, item.target) for item in pattern.transfers for _ in range(rounds))
    assert found.result is not None and found.result.verdict == "ok"
    assert ends_of(found.program) == (wanted, wanted)
    assert found.bound <= found.steps


CURELESS = (
    "2SEND_F1 0F2 0SEND_F2 2RECV_B0 2B0 2RECV_B1",
    "3RECV_F1 3SEND_B0 3F1 3B1 1RECV_F2 3SEND_B1 1F2",
)


def test_pytorch_172668_b_has_an_order_though_swapping_is_none() -> None:
    """The acceptance case of synthesis: torch's schedule hangs, so does the swapped one, and this order does not."""
    given_schedule = schedule(row.split() for row in CURELESS)
    reported = next(hang for hang in known_hangs() if hang.name == "pytorch#172668 (b)")
    assert check(reported.program, NAMED["rendezvous"]).verdict == "deadlock"
    assert check(reported.cures[0].program, NAMED["rendezvous"]).verdict == "deadlock"
    found = of_precedence(of_schedule(given_schedule))
    assert found.result is not None and found.result.verdict == "ok"
    assert (found.steps, found.bound) == (8, 8)
    for name in ("rendezvous", "xccl", "hccl", "nccl-cold"):
        assert check(found.program, NAMED[name]).verdict == "ok", name
    before = Counter(op.label for ops in reported.program for op in ops if isinstance(op, Compute))
    assert Counter(op.label for ops in found.program for op in ops if isinstance(op, Compute)) == before
    sent, received = ends_of(found.program)
    assert sent == received == Counter({(0, 1): 2, (1, 0): 2})


def test_where_there_is_no_order_its_circuit_is_told() -> None:
    """Each rank needs what the other computes from its own result."""
    found = of_precedence(of_schedule(schedule(BOTH_FIRST)))
    assert found.result is None and found.program == ()
    assert len(found.circuit) >= 2


BOTH_FIRST = [["0RECV_B0", "0B0", "0F0", "0SEND_F0"], ["1RECV_F0", "1F0", "1B0", "1SEND_B0"]]


def test_a_schedule_of_a_file_is_the_schedule(tmp_path: Path) -> None:
    given_schedule = schedule(row.split() for row in CURELESS)
    file = tmp_path / "b.csv"
    file.write_text(rows_csv(given_schedule.rows))
    assert load(file) == given_schedule
    assert program_of(load(file)) == program_of(given_schedule)


@settings(max_examples=200)
@given(st.binary(max_size=40) | st.text("0123SENDRECV_FBWI;(),\n ", max_size=60).map(str.encode))
def test_arbitrary_bytes_are_a_schedule_or_a_value_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any.csv"
    file.write_bytes(data)
    try:
        program_of(load(file))
    except ValueError as error:
        assert len(str(error).splitlines()) == 1


@given(st.recursive(st.none() | st.integers(-1, 4) | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3)))
def test_arbitrary_json_is_a_pattern_or_a_value_error(data: object) -> None:
    for given_data in (data, {"ranks": 3, "transfers": data}, {"ranks": data, "transfers": [[0, 1]]}):
        try:
            assert isinstance(from_json(given_data), Pattern)
        except ValueError as error:
            assert len(str(error).splitlines()) == 1
