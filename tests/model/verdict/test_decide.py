"""Verdicts with their evidence: wildcards, buffering and its limits, lost messages, circuits."""

import json
from dataclasses import fields

import pytest

from model import Result, check
from model.program.checked import Program, program
from model.program.ops import ANY, Compute, Irecv, Isend, Operation, Recv, Send, Wait
from model.rings.orderings import ordering
from model.rings.ring_program import ring
from model.semantics.libraries import NAMED, semantics
from tests.model.verdicts import HANG, OK, pair, ranks_of, verdicts

# Statement 1, second half: with wildcards one schedule does not decide, and buffering can harm.


def wildcard_example() -> Program:
    """The barrier of the statement is written with messages: two arrive at rank 0, which lets both go."""
    gather: list[Operation] = [Recv(peer=1, tag=98), Recv(peer=2, tag=98), Send(peer=1, tag=99), Send(peer=2, tag=99)]
    arrive: list[Operation] = [Send(peer=0, tag=98), Recv(peer=0, tag=99)]
    return program(
        [
            [*gather, Send(peer=1), Send(peer=2)],
            [*arrive, Send(peer=2, tag=20), Recv(peer=0)],
            [*arrive, Recv(peer=ANY, tag=ANY), Recv(peer=0)],
        ]
    )


def test_statement_1_with_wildcards_buffering_can_bring_the_deadlock() -> None:
    assert verdicts(wildcard_example(), "rendezvous", "gloo") == [OK, OK]
    assert verdicts(wildcard_example(), "eager", "bounded(1)") == [HANG, HANG]
    result = check(wildcard_example(), NAMED["eager"])
    assert result.engine == "explorer"
    assert (result.circuit[0].rank, result.circuit[0].op, result.circuit[0].waits_for) == (2, "recv(0)", (0,))
    assert result.lost == ("rank 1: message sent to rank 2, tag 20",)


def test_one_schedule_refuses_wildcards() -> None:
    with pytest.raises(ValueError, match="wildcard"):
        check(wildcard_example(), NAMED["eager"], engine="schedule")


def test_a_wildcard_receive_takes_any_source_but_each_source_in_order() -> None:
    first: Operation = Recv(peer=ANY, tag=ANY)
    one_source = program([[Send(peer=1, tag=1), Send(peer=1, tag=2)], [first, Recv(peer=0, tag=2)]])
    assert verdicts(one_source, "eager", "rendezvous") == [OK, OK]
    two_sources = program([[Send(peer=2, tag=1)], [Send(peer=2, tag=2)], [first, Recv(peer=1, tag=2)]])
    assert verdicts(two_sources, "eager", "rendezvous") == [HANG, HANG]  # rank 1 may have come first


def test_a_posted_receive_comes_before_a_later_blocking_one() -> None:
    made = program([[Send(peer=1)], [Irecv(peer=0, request="first"), Recv(peer=0), Wait(requests=("first",))]])
    for promise in ("rendezvous", "gloo", "eager"):
        result = check(made, semantics(promise), engine="explorer")
        assert (result.verdict, [item.op for item in result.blocked]) == (HANG, ["recv(0)"])
        assert result.lost == ()  # the one message went to the posted receive
    assert check(made, NAMED["rendezvous"], engine="explorer").states == 3


# Lost messages, and waits that nobody ends.


def test_a_message_that_nobody_receives_is_lost_where_it_is_stored() -> None:
    made = program([[Send(peer=1, tag=4)], []])
    result = check(made, NAMED["eager"])
    assert (result.verdict, result.lost) == ("lost", ("rank 0: message sent to rank 1, tag 4",))
    assert [event.moved for event in result.path] == [((0, "send(1, tag=4)"),)]
    assert verdicts(made, "bounded(1)", "mpich", "rendezvous", "gloo") == ["lost", "lost", HANG, HANG]


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (Isend(peer=1, request=1), "rank 0: message sent to rank 1, tag 0"),
        (Irecv(peer=1, request=1, tag=3), "rank 0: message awaited from rank 1, tag 3"),
        (Irecv(peer=ANY, request=1, tag=ANY), "rank 0: message awaited from any rank, tag any"),
    ],
)
def test_an_end_that_nobody_waits_for_is_lost(end: Operation, said: str) -> None:
    result = check(program([[end], []]), NAMED["gloo"])
    assert (result.verdict, result.lost, result.circuit) == ("lost", (said,), ())


@pytest.mark.parametrize("wrong", [{"peer": 0, "tag": 1}, {"peer": 0, "comm": "other"}, {"peer": 1}])
def test_messages_match_by_source_tag_and_communicator(wrong: dict[str, int | str]) -> None:
    made = program([[Send(peer=1)], [Recv(**wrong)]])  # type: ignore[arg-type]
    assert verdicts(made, "eager", "rendezvous") == [HANG, HANG]
    assert verdicts(program([[Send(peer=1)], [Recv(peer=0)]]), "eager", "rendezvous") == [OK, OK]


def test_a_deadlock_counts_before_a_lost_message() -> None:
    result = check(program([[Send(peer=1, tag=7), Recv(peer=1)], []]), NAMED["eager"])
    assert (result.verdict, result.lost) == (HANG, ("rank 0: message sent to rank 1, tag 7",))


def test_where_one_run_deadlocks_and_another_loses_a_message_the_deadlock_is_shown() -> None:
    """Rank 2 serves rank 1 first and a late message is left over, or rank 0 first and everybody is stuck."""
    large = 8113
    made = program(
        [
            [Send(peer=2, tag=1, nbytes=large)],
            [Send(peer=2, tag=2, nbytes=large), Recv(peer=2), Send(peer=2, tag=3)],
            [Recv(peer=ANY, tag=ANY), Recv(peer=0, tag=1), Send(peer=1)],
        ]
    )
    result = check(made, NAMED["mpich"])
    assert (result.verdict, [item.rank for item in result.blocked], result.lost) == (HANG, [1, 2], ())
    assert [event.moved for event in result.path] == [((0, "send(2, tag=1, nbytes=8113)"), (2, "recv(any, tag=any)"))]


def test_without_a_circuit_the_chain_to_a_finished_rank_is_shown() -> None:
    made = program([[Recv(peer=1)], [Recv(peer=2)], [Compute(label="all that it does")]])
    result = check(made, NAMED["eager"])
    assert [(item.rank, item.waits_for) for item in result.circuit] == [(0, (1,)), (1, (2,))]
    assert len(result.blocked) == 2


def test_a_rank_that_waits_for_itself_is_a_circuit_of_one() -> None:
    made = program([[], [Send(peer=1), Recv(peer=1)]])
    result = check(made, NAMED["rendezvous"])
    assert [(item.rank, item.waits_for) for item in result.circuit] == [(1, (1,))]
    assert verdicts(made, "eager") == [OK]


def test_a_lone_rank_that_receives_from_anyone() -> None:
    result = check(program([[Recv(peer=ANY)]]), NAMED["eager"])
    assert (result.verdict, ranks_of(result), result.circuit[0].waits_for) == (HANG, [0], ())


def test_the_circuit_is_a_shortest_one() -> None:
    """0, 1, 2 close a circuit and so do 2, 3; the search from rank 0 meets the longer one first."""
    two: list[Operation] = [Irecv(peer=0, request="a"), Irecv(peer=3, request="b"), Wait(requests=("a", "b"))]
    made = program([[Recv(peer=1)], [Recv(peer=2)], two, [Recv(peer=2)]])
    result = check(made, NAMED["eager"])
    assert ranks_of(result) == [2, 3]
    assert len(result.blocked) == 4


def test_the_path_is_a_shortest_run_to_the_deadlock() -> None:
    made = program([[Compute(label="a"), Send(peer=1), Recv(peer=1)], [Compute(label="b"), Send(peer=0), Recv(peer=0)]])
    result = check(made, NAMED["rendezvous"], engine="explorer")
    assert [event.step for event in result.path] == [1, 2]
    assert sorted(event.moved for event in result.path) == [((0, "compute(label=a)"),), ((1, "compute(label=b)"),)]
    met = check(program([[Send(peer=1), Recv(peer=1)], [Recv(peer=0)]]), NAMED["rendezvous"])
    assert [event.moved for event in met.path] == [((0, "send(1)"), (1, "recv(0)"))]


def test_communicators_may_promise_different_things() -> None:
    made = pair(Send(peer=1, comm="control"), Recv(peer=1, comm="control"), Send(peer=1, comm="data"))
    made = program([*made[:1], [*made[1][:2], Recv(peer=0, comm="data")]])
    assert check(made, {"control": NAMED["eager"], "data": NAMED["rendezvous"]}).verdict == OK
    assert check(made, {"control": NAMED["rendezvous"], "*": NAMED["eager"]}).verdict == HANG
    with pytest.raises(ValueError, match="'data'"):
        check(made, {"control": NAMED["eager"]})


@pytest.mark.parametrize("verdict", ["ok", "deadlock", "lost"])
def test_a_result_is_plain_json(verdict: str) -> None:
    made = {
        "ok": program([[], []]),
        "deadlock": pair(Send(peer=1), Recv(peer=1)),
        "lost": program([[Isend(peer=1, request=0)], []]),
    }[verdict]
    data = json.loads(json.dumps(check(made, NAMED["gloo"]).to_json()))
    assert data["verdict"] == verdict
    assert set(data) == {field.name for field in fields(Result)} - {"subject"}
    if verdict == "deadlock":
        assert data["circuit"][0] == {"rank": 0, "op": "send(1)", "index": 0, "waits_for": [1]}


def test_the_bound_on_states_is_an_error_of_the_user() -> None:
    with pytest.raises(ValueError, match="more than 10 states"):
        check(ring(ranks=4, rounds=2, ordering=ordering("SRSR", 4)), NAMED["eager"], engine="explorer", max_states=10)
