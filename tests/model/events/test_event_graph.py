"""The event graph: the verdicts of the transition system, state for state; tables; rings of a size of their own."""

import json

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from model import check
from model.events.earliest_run import run
from model.program.checked import Program, program
from model.program.ops import ANY, Irecv, Isend, Recv, Send, Wait
from model.rings.orderings import NAMED as ORDERINGS
from model.rings.orderings import ordering
from model.rings.ring_program import ring, ring_table
from model.semantics.columns import columns_of
from model.semantics.instructions import Lowered
from model.semantics.libraries import NAMED, bounded, semantics
from model.semantics.lowering import lower
from model.semantics.parameters import Semantics
from model.semantics.table import WAIT, columns_of_table, table_of
from model.verdict.by_graph import check_table
from tests.model.conftest import Inside
from tests.model.small_programs import any_semantics, programs

PLAIN = ["rendezvous", "eager", "gloo", "ssend", "mpich", "xccl", "oneccl-mpich", "bounded(1)", "fifo(2)"]


def lowered_of(made: Program, rules: Semantics) -> Lowered:
    try:
        return lower(made, rules)
    except ValueError:
        assume(False)
        raise


@settings(max_examples=150)
@given(programs(), any_semantics)
def test_the_three_engines_give_one_verdict_and_one_explanation(made: Program, rules: Semantics) -> None:
    lowered_of(made, rules)
    graph, schedule, explorer = (check(made, rules, engine=engine) for engine in ("graph", "schedule", "explorer"))
    for other in (schedule, explorer):
        assert (graph.verdict, graph.circuit, graph.blocked, graph.lost) == (
            other.verdict,
            other.circuit,
            other.blocked,
            other.lost,
        )
    assert graph.path == schedule.path


@pytest.mark.parametrize("rules", [semantics(name) for name in PLAIN], ids=PLAIN)
@pytest.mark.parametrize("name", [*ORDERINGS, "SSRRS"])
@pytest.mark.parametrize(("rounds", "nbytes"), [(1, 1), (3, 9000)])
def test_both_faces_of_a_ring_are_equal(rules: Semantics, name: str, rounds: int, nbytes: int) -> None:
    policy = ordering(name, 5)
    made = ring(ranks=5, rounds=rounds, ordering=policy, nbytes=nbytes)
    columns = ring_table(ranks=5, rounds=rounds, ordering=policy, nbytes=nbytes)
    listed = table_of(made)
    for field in ("rank", "index", "kind", "peer", "tag", "nbytes", "request"):
        assert np.array_equal(getattr(columns, field), getattr(listed, field)), field
    assert columns_of_table(columns, rules).same_as(columns_of(lower(made, rules)))
    one, other = check_table(columns, rules), check(made, rules)
    assert (one.verdict, one.depends_on_buffering) == (other.verdict, other.depends_on_buffering)
    if one.hangs:
        assert len(one.circuit) == len(other.circuit)


@st.composite
def tabled(draw: st.DrawFn) -> Program:
    """Programs of sends, receives and waits, whose messages may have one end only."""
    ranks = draw(st.integers(1, 3))
    lists = []
    for _ in range(ranks):
        ops: list[Send | Recv | Isend | Irecv | Wait] = []
        opened: list[str] = []
        for number in range(draw(st.integers(0, 5))):
            peer, tag = draw(st.integers(0, ranks - 1)), draw(st.integers(0, 1))
            kind = draw(st.sampled_from("SRIJW"))
            if kind == "S":
                ops.append(Send(peer=peer, tag=tag, nbytes=draw(st.sampled_from([1, 3, 9000]))))
            elif kind == "R":
                ops.append(Recv(peer=peer, tag=tag))
            elif kind == "W" and opened:
                taken = tuple(opened[: draw(st.integers(1, len(opened)))])
                opened = opened[len(taken) :]
                ops.append(Wait(requests=taken))
            elif kind in "IJ":
                opened.append(f"q{number}")
                ops.append(
                    Isend(peer=peer, tag=tag, request=opened[-1])
                    if kind == "I"
                    else Irecv(peer=peer, request=opened[-1])
                )
        lists.append(ops)
    return program(lists)


@given(tabled(), st.sampled_from(PLAIN))
def test_a_table_is_lowered_as_its_operations_are(made: Program, name: str) -> None:
    columns = table_of(made)
    assert np.array_equal(columns.kind == WAIT, columns.request >= 0)
    assert columns_of_table(columns, semantics(name)).same_as(columns_of(lower(made, semantics(name))))


def test_what_has_no_row_is_refused() -> None:
    for op in (Recv(peer=ANY), Recv(peer=0, tag=ANY), Send(peer=0, comm="other"), Send(peer=0, mode="sync")):
        with pytest.raises(ValueError, match="has no row in a table"):
            table_of(((op,),))
    for name in ("nccl", "nccl-cold", "hccl", "deferred"):
        with pytest.raises(ValueError, match="use the list of operations"):
            columns_of_table(ring_table(ranks=3, rounds=1, ordering=ORDERINGS["parity"]), semantics(name))


@pytest.mark.parametrize("name", list(ORDERINGS))
@pytest.mark.parametrize("rules", ["rendezvous", "xccl", "eager"])
def test_a_large_ring_has_the_verdict_of_a_small_one(inside: Inside, name: str, rules: str) -> None:
    given = ("--ordering", name, "--semantics", rules, "--engine", "graph", "--json")
    status, out, _ = inside("check", "ring", "--ranks", "20001", *given)
    large, small = json.loads(out), json.loads(inside("check", "ring", "--ranks", "5", *given)[1])
    assert large["verdict"] == small["verdict"]
    assert status == int(large["verdict"] != "ok")
    if large["verdict"] == "ok" and rules == "rendezvous":
        assert large["makespan"] == {"parity": 3, "last-sends-first": 20001, "one-receives-first": 20001}[name]


@pytest.mark.parametrize(
    ("ranks", "engine", "said"),
    [
        (1_000_001, ("--engine", "explorer"), "--engine graph"),
        (10**15, (), "ring steps; give fewer"),
        (10**15, ("--engine", "graph"), "ring steps; give fewer"),
    ],
)
def test_sizes_beyond_the_memory_are_refused(inside: Inside, ranks: int, engine: tuple[str, ...], said: str) -> None:
    status, _, err = inside("check", "ring", "--ranks", str(ranks), *engine)
    assert (status, len(err.splitlines())) == (2, 1)
    assert said in err


@given(programs(most=4), st.integers(0, 3))
def test_statement_2_more_room_never_adds_a_hang(made: Program, capacity: int) -> None:
    lowered = [lowered_of(made, rules) for rules in (NAMED["rendezvous"], bounded(capacity))]
    tight, roomy = (run(columns_of(one)) for one in lowered)
    assert tight.hangs or not roomy.hangs
