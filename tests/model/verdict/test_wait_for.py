"""Who waits for whom, the same of lists and of tables, of small programs and of large ones."""

import pytest
from hypothesis import assume, given, settings

from model import check
from model.program.checked import Program, program
from model.program.ops import Irecv, Isend, Operation, Recv, Send, Wait
from model.program.text_form import parse_program
from model.rings.orderings import NAMED as ORDERINGS
from model.rings.orderings import ordering
from model.rings.ring_program import ring, ring_table
from model.semantics.libraries import semantics
from model.semantics.parameters import Semantics
from model.semantics.table import fits_table, table_of
from model.verdict.by_graph import MAX_PATH, check_table
from model.verdict.result import MAX_LISTED
from tests.model.small_programs import any_semantics, programs


def tabled(made: Program) -> Program:
    """The program without the operations that a table has no row for."""
    return program([[op for op in ops if isinstance(op, Send | Recv | Isend | Irecv | Wait)] for ops in made])


@settings(max_examples=150)
@given(programs(native=True), any_semantics)
def test_lists_and_tables_have_one_result(made: Program, rules: Semantics) -> None:
    assume(fits_table(rules))
    made = tabled(made)
    try:
        table = table_of(made)
    except ValueError:
        assume(False)
    one, other = check_table(table, rules), check(made, rules, engine="graph")
    assert one.depends_on_buffering == other.depends_on_buffering
    for name in ("verdict", "states", "transitions", "engine", "lost", "note", "makespan"):
        assert getattr(one, name) == getattr(other, name), name
    for name in ("circuit", "blocked"):  # a table names requests by their rows
        mine, theirs = getattr(one, name), getattr(other, name)
        assert [(item.rank, item.index, item.waits_for) for item in mine] == [
            (item.rank, item.index, item.waits_for) for item in theirs
        ]
    assert len(one.path) == len(other.path)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_rank_that_waits_for_a_receive_does_not_poll(mirrored: bool) -> None:
    made = parse_program("0: irecv(1, request=r); wait(r); send(1)\n1: irecv(0, request=r); wait(r); send(0)")
    if mirrored:
        made = parse_program("0: irecv(1, request=s); wait(s); send(1)\n1: irecv(0, request=w); wait(w); send(0)")
    for engine in ("schedule", "graph", "explorer"):
        assert check(made, "xccl", engine=engine).verdict == "deadlock"  # type: ignore[arg-type]
    assert check_table(table_of(made), semantics("xccl")).verdict == "deadlock"


def test_a_rank_that_waits_for_its_send_polls() -> None:
    made = parse_program("0: isend(1, request=r); wait(r); recv(1)\n1: isend(0, request=r); wait(r); recv(0)")
    assert check(made, "xccl", engine="schedule").verdict == "livelock"
    assert check_table(table_of(made), semantics("xccl")).verdict == "livelock"


@pytest.mark.parametrize("ranks", [5, MAX_PATH // 2, MAX_PATH // 2 + 1, 2000])
@pytest.mark.parametrize("name", ["parity", "send-first"])
def test_the_graph_answers_the_same_at_every_size(ranks: int, name: str) -> None:
    made = ring(ranks=ranks, rounds=1, ordering=ORDERINGS[name])
    table = ring_table(ranks=ranks, rounds=1, ordering=ORDERINGS[name])
    for result in (check(made, "rendezvous", engine="graph"), check_table(table, semantics("rendezvous"))):
        assert (result.makespan is None) == result.hangs
        assert len(result.blocked) == len(result.circuit) == (min(ranks, MAX_LISTED) if result.hangs else 0)
        assert bool(result.note) == (result.hangs and ranks > MAX_PATH // 2)
        assert [item.rank for item in result.circuit] == list(range(len(result.circuit)))


def test_messages_left_over_are_told_of_a_table() -> None:
    made = program([[Send(peer=1), Send(peer=1, tag=4)], [Recv(peer=0)]])
    result = check_table(table_of(made), semantics("eager"))
    assert (result.verdict, result.lost) == ("lost", ("rank 0: message sent to rank 1, tag 4",))
    many: list[Operation] = [Isend(peer=1, request=number) for number in range(MAX_LISTED + 5)]
    result = check(program([many, []]), "eager", engine="graph")
    assert (result.verdict, len(result.lost)) == ("lost", MAX_LISTED)
    assert f"{MAX_LISTED + 5} messages are left over" in result.note


def test_a_large_circuit_is_the_shortest_too() -> None:
    """Beside a dead ring of 700 ranks two ranks wait for each other."""
    ranks = 700
    lists: list[list[Operation]] = [
        [Recv(peer=(rank - 1) % ranks), Send(peer=(rank + 1) % ranks)] for rank in range(ranks)
    ]
    lists += [[Recv(peer=ranks + 1), Send(peer=ranks + 1)], [Recv(peer=ranks), Send(peer=ranks)]]
    result = check(program(lists), "eager")
    assert [item.rank for item in result.circuit] == [ranks, ranks + 1]
    assert len(result.blocked) == ranks + 2


def test_the_bound_on_states_names_what_helps() -> None:
    made = ring(ranks=4, rounds=2, ordering=ordering("SRSR", 4))
    with pytest.raises(
        ValueError, match=r"--max-states, or leave out --engine explorer: .*--engine schedule, or graph"
    ):
        check(made, "eager", engine="explorer", max_states=10)
