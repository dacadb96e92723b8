"""Guards: one fixpoint over them, and every engine, ends in the same positions."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from model.events.earliest_run import run
from model.events.simulator import simulate
from model.program.checked import Program, program
from model.program.ops import ANY, Compute, Irecv, Isend, Probe, Recv, Send, Wait
from model.semantics.arrays import NONE
from model.semantics.buffer_slots import RENDEZVOUS, STORED
from model.semantics.columns import columns_of
from model.semantics.guards import HANDED_OVER, MEETS, PROBE, Guards, guards_of
from model.semantics.instructions import Lowered
from model.semantics.libraries import NAMED, bounded, fifo, semantics
from model.semantics.lowering import lower
from model.semantics.parameters import Semantics
from model.states.bfs import explore, one_schedule
from model.states.machine import Machine
from tests.model.message_machine import MessageMachine
from tests.model.small_programs import any_semantics, programs

MANY = 10**6


def fixpoint(guards: Guards) -> list[int]:
    """By thread, how far it comes where each instruction passes as soon as all of its preconditions hold."""
    columns, thread_of = guards.columns, guards.columns.thread_of()
    positions = [0] * len(columns.rank_of)

    def holds(row: int, *, meets: bool) -> bool:
        other, kind = int(guards.other[row]), int(guards.kind[row])
        if other == NONE:
            return False
        place = int(columns.starts[thread_of[other]]) + positions[thread_of[other]]
        if kind == MEETS:
            handed = [row for row in np.flatnonzero(guards.instruction == other) if guards.kind[row] == HANDED_OVER]
            return place > other or (meets and place == other and all(holds(row, meets=False) for row in handed))
        return place >= other + int(guards.passed[row])

    moved = True
    while moved:
        moved = False
        for thread, (first, last) in enumerate(zip(columns.starts[:-1], columns.starts[1:], strict=True)):
            at = first + positions[thread]
            if at < last:
                rows = np.flatnonzero(guards.instruction == at)
                needs = [holds(row, meets=True) for row in rows if guards.kind[row] != PROBE]
                probes = [holds(row, meets=True) for row in rows if guards.kind[row] == PROBE]
                if all(needs) and (any(probes) or not probes):
                    positions[thread] += 1
                    moved = True
    return positions


def lowered_of(made: Program, rules: Semantics) -> Lowered:
    try:
        return lower(made, rules)
    except ValueError:
        assume(False)
        raise


@settings(max_examples=400)
@given(programs(), any_semantics)
def test_every_engine_ends_where_the_fixpoint_over_guards_does(made: Program, rules: Semantics) -> None:
    lowered = lowered_of(made, rules)
    columns = columns_of(lowered)
    guards = guards_of(columns)
    ends = fixpoint(guards)
    assert list(one_schedule(Machine(guards)).endings[0].state) == ends
    assert run(columns).positions.tolist() == ends
    passed = np.concatenate(([0], np.cumsum(simulate(columns).passed >= 0)))
    assert (passed[columns.starts[1:]] - passed[columns.starts[:-1]]).tolist() == ends
    messages = one_schedule(MessageMachine(lowered)).endings[0].state
    assert list(messages.heads) == ends
    assert guards.unreceived(np.array(ends)).tolist() == sorted((*messages.sends, *messages.recvs))


@settings(max_examples=200)
@given(programs(), any_semantics)
def test_the_states_over_guards_are_those_of_messages(made: Program, rules: Semantics) -> None:
    lowered = lowered_of(made, rules)
    messages = explore(MessageMachine(lowered), max_states=MANY)
    positions = explore(Machine(guards_of(columns_of(lowered))), max_states=MANY)
    assert (positions.states, positions.transitions) == (messages.states, messages.transitions)
    assert [end.state for end in positions.endings] == [end.state.heads for end in messages.endings]


@st.composite
def probing(draw: st.DrawFn) -> Program:
    """Rank 0 probes for anything, then receives in an order of its own."""
    sent = [[Send(peer=0, tag=draw(st.integers(0, 1)))] * draw(st.integers(0, 2)) for _ in range(2)]
    recvs = [Recv(peer=rank, tag=op.tag) for rank, ops in enumerate(sent, start=1) for op in ops]
    ops: list[Recv | Probe] = list(draw(st.permutations(recvs)))
    probe = Probe(peer=draw(st.sampled_from([ANY, 1])), tag=draw(st.sampled_from([ANY, 0])))
    ops.insert(draw(st.integers(0, len(ops))), probe)
    return program([ops, *sent])


@given(probing(), st.sampled_from(["rendezvous", "eager", "bounded(1)", "mpich"]))
def test_a_wildcard_probe_passes_by_any_send(made: Program, name: str) -> None:
    lowered = lower(made, semantics(name))
    messages = explore(MessageMachine(lowered), max_states=MANY)
    guards = guards_of(columns_of(lowered))
    positions = explore(Machine(guards), max_states=MANY)
    assert (positions.states, positions.transitions) == (messages.states, messages.transitions)
    assert [end.state for end in positions.endings] == [end.state.heads for end in messages.endings]
    if guards.has_alternatives:
        with pytest.raises(ValueError, match="ask check with engine explorer"):
            run(guards.columns)


def slots(made: Program, rules: Semantics) -> list[int]:
    columns = columns_of(lower(made, rules))
    return guards_of(columns).slot[columns.sends].tolist()


def test_a_slot_is_freed_by_one_receive() -> None:
    made = program([[Send(peer=1)] * 4, [Recv(peer=0)] * 4])
    assert slots(made, bounded(2)) == [STORED, STORED, 4, 5]
    assert slots(made, fifo(3)) == [STORED, STORED, STORED, 4]
    assert slots(made, NAMED["rendezvous"]) == [RENDEZVOUS] * 4
    assert slots(made, NAMED["eager"]) == [STORED] * 4


def test_a_message_without_bytes_takes_a_slot_all_the_same() -> None:
    made = program([[Send(peer=1, nbytes=0)] * 2, [Compute(), Recv(peer=0), Recv(peer=0)]])
    assert slots(made, bounded(1)) == [STORED, 2]


def test_slots_of_a_long_channel_take_near_linear_time() -> None:
    """Forty thousand rounds; what compares every message with every earlier one would take hours."""
    rounds = 40_000
    tags = [number % 2 for number in range(rounds)]
    sends = [Send(peer=1, tag=tag) for tag in tags]
    recvs = [Irecv(peer=0, tag=tag, request=number) for number, tag in enumerate(sorted(tags))]
    made = program([sends, [*recvs, Wait(requests=tuple(range(rounds)))]])
    assert max(slots(made, bounded(3))) < 2 * rounds


def test_an_isend_and_its_wait_are_guarded_by_the_receive() -> None:
    made = program([[Isend(peer=1, request="a"), Wait(requests=("a",))], [Recv(peer=0)]])
    assert fixpoint(guards_of(columns_of(lower(made, NAMED["gloo"])))) == [2, 1]
    alone = program([[Isend(peer=1, request="a"), Wait(requests=("a",))], []])
    assert fixpoint(guards_of(columns_of(lower(alone, NAMED["gloo"])))) == [1, 0]
