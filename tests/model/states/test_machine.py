"""The transition system on random programs: statements 1 and 2, paths that replay, circuits that are circuits."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from model import Result, check
from model.program.checked import Program, program, wildcard_free
from model.program.ops import ANY, Batch, Irecv, Isend, Operation, Recv, Send, Wait
from model.semantics.columns import columns_of
from model.semantics.guards import guards_of
from model.semantics.libraries import NAMED, bounded, semantics
from model.semantics.lowering import lower
from model.semantics.parameters import UNLIMITED, Semantics
from model.states.bfs import explore, one_schedule
from model.states.machine import Machine
from model.verdict.arguments import communicators

COMMS = ("control", "data")

any_semantics = (
    st.sampled_from(list(NAMED.values()))
    | st.integers(0, 3).map(bounded)
    | st.builds(
        Semantics,
        name=st.just("drawn"),
        isend_returns=st.sampled_from(["post", "match"]),
        eager_limit=st.sampled_from([0, 1, 8112, UNLIMITED]),
        capacity=st.sampled_from([0, 1, 2, UNLIMITED]),
        source=st.just("drawn"),
    )
)
plain = any_semantics.filter(
    lambda rules: (
        (rules.order, rules.connection, rules.batch) == ("none", "warm", "concurrent")
        and rules.isend_returns != "deferred"
    )
)
"""Where an operation is one instruction of its host; elsewhere paths show queues, and wildcards are refused."""

plain_world = plain | st.fixed_dictionaries({comm: plain for comm in COMMS})
any_world = any_semantics | st.fixed_dictionaries({comm: any_semantics for comm in COMMS})


@st.composite
def programs(draw: st.DrawFn, *, wildcards: bool = False, most: int = 6) -> Program:
    """Messages whose ends are inserted near the end of their ranks' lists, some lost, in every style of call."""
    ranks = draw(st.integers(1, 4))
    names = st.integers(0, ranks - 1)
    ends: list[list[dict[str, Any]]] = [[] for _ in range(ranks)]
    for _ in range(draw(st.integers(0, most))):
        message = {"tag": draw(st.integers(0, 1)), "comm": draw(st.sampled_from(COMMS))}
        source = draw(names)
        target = (source + draw(st.sampled_from([1, 1, 1, 2, 3, 0]))) % ranks
        nbytes = draw(st.sampled_from([1, 8112, 8113]))
        for rank, end in ((source, {"peer": target, "nbytes": nbytes}), (target, {"peer": source})):
            if draw(st.integers(0, 19)) == 19:
                continue  # the other end is left alone
            if wildcards and "nbytes" not in end and draw(st.booleans()):
                end[draw(st.sampled_from(["peer", "tag"]))] = ANY
            back = min(len(ends[rank]), draw(st.sampled_from([0, 0, 0, 0, 1, 2])))
            call = draw(st.sampled_from(["blocking", "blocking", "posted", "grouped"]))
            ends[rank].insert(
                len(ends[rank]) - back, {"call": call, "later": draw(st.integers(0, 3)), **message, **end}
            )
    return program(_calls(list_) for list_ in ends)


def _calls(ends: list[dict[str, Any]]) -> list[Operation]:
    """Operations of one rank; a posted end is waited for `later` ends later (3: never), neighbours share a batch."""
    ops: list[Operation] = []
    waits: list[tuple[int, int]] = []  # (at which end, request)
    group: list[Isend | Irecv] = []
    for request, end in enumerate(ends):
        fields = {name: value for name, value in end.items() if name not in ("call", "later")}
        sends = "nbytes" in end
        if end["call"] != "grouped" and group:
            ops.append(Batch(ops=tuple(group)))
            group = []
        if end["call"] == "blocking":
            ops.append(Send(**fields) if sends else Recv(**fields))
        else:
            posted = Isend(request=request, **fields) if sends else Irecv(request=request, **fields)
            if end["call"] == "grouped":
                group.append(posted)
            else:
                ops.append(posted)
                if end["later"] < 3:
                    waits.append((request + end["later"], request))
        due = tuple(name for at, name in waits if at == request)
        if due and not group:
            ops.append(Wait(requests=due))
            waits = [wait for wait in waits if wait[1] not in due]
    if group:
        ops.append(Batch(ops=tuple(group)))
    if waits:
        ops.append(Wait(requests=tuple(name for _, name in waits)))
    return ops


def used(made: Program, rules: Any) -> Any:
    """Of the semantics by communicator those that the program uses."""
    if isinstance(rules, Semantics):
        return rules
    return {comm: rules[comm] for comm in communicators(made)} or {"*": rules[COMMS[0]]}


def parts(op: Operation) -> tuple[Operation, ...]:
    return op.ops if isinstance(op, Batch) else (op,)


def follows_the_program(given_program: Program, result: Result) -> None:
    """Every event is the next operation of its rank (a batch takes a step a part and one to wait); the end fits."""
    position = [0] * len(given_program)
    left = [0] * len(given_program)
    for number, event in enumerate(result.path, start=1):
        assert event.step == number
        assert 1 <= len(event.moved) <= 2
        for rank, shown in event.moved:
            op = given_program[rank][position[rank]]
            assert shown == str(op)
            left[rank] = (left[rank] or (len(op.ops) + 1 if isinstance(op, Batch) else 1)) - 1
            position[rank] += left[rank] == 0
    stuck = {item.rank: item for item in result.blocked}
    for rank, ops in enumerate(given_program):
        assert position[rank] == (stuck[rank].index if rank in stuck else len(ops))


def is_a_circuit(given_program: Program, result: Result) -> None:
    """Each rank of the circuit waits for the next in the operation it is in; the last for the first, or a finished."""
    stuck = {item.rank: item for item in result.blocked}
    assert result.circuit
    assert len({item.rank for item in result.circuit}) == len(result.circuit)
    for item in result.blocked:
        op = given_program[item.rank][item.index]
        assert item.op == str(op)
        assert item.waits_for or len(given_program) == 1
        waited = set(op.requests) if isinstance(op, Wait) else set()
        posted = [part for before in given_program[item.rank][: item.index] for part in parts(before)]
        named = [part for part in posted if isinstance(part, Isend | Irecv) and part.request in waited] or parts(op)
        peers = {part.peer for part in named if isinstance(part, Send | Isend | Recv | Irecv)}
        assert set(item.waits_for) <= peers or ANY in peers
    for item, following in zip(result.circuit, result.circuit[1:], strict=False):
        assert stuck[item.rank] == item
        assert following.rank in item.waits_for
    first, last = result.circuit[0], result.circuit[-1]
    if last.waits_for:
        assert first.rank in last.waits_for or any(peer not in stuck for peer in last.waits_for)


@given(programs(), any_world)
def test_statement_1_one_schedule_decides_without_wildcards(
    given_program: Program, rules: Semantics | Mapping[str, Semantics]
) -> None:
    assert wildcard_free(given_program)
    machine = Machine(guards_of(columns_of(lower(given_program, rules))))
    (everywhere,) = explore(machine, max_states=50_000).endings
    (once,) = one_schedule(machine).endings
    assert everywhere.state == once.state
    assert len(everywhere.path) == len(once.path)
    explored, scheduled = (
        check(given_program, used(given_program, rules), engine=engine) for engine in ("explorer", "schedule")
    )
    assert (explored.verdict, explored.blocked, explored.circuit, explored.lost) == (
        scheduled.verdict,
        scheduled.blocked,
        scheduled.circuit,
        scheduled.lost,
    )
    assert check(given_program, used(given_program, rules)) == scheduled


@given(programs(), any_world, st.randoms(use_true_random=False))
def test_statement_1_an_enabled_step_stays_enabled(given_program: Program, rules: Any, random: Any) -> None:
    machine = Machine(guards_of(columns_of(lower(given_program, rules))))
    state = machine.initial()
    while steps := machine.enabled(state):
        movers = {step.thread for step in steps}
        taken = random.choice(steps)
        state = machine.step(state, taken)
        still = {rank for step in machine.enabled(state) for rank in (step.thread, step.partner)}
        assert movers - {taken.thread, taken.partner} <= still


@given(programs(most=5), any_world)
def test_on_every_library_a_circuit_is_one_and_a_path_is_of_the_program(given_program: Program, rules: Any) -> None:
    result = check(given_program, used(given_program, rules), engine="explorer")
    assert all(str(given_program[item.rank][item.index]) == item.op for item in result.blocked)
    shown = {(rank, str(op)) for rank, ops in enumerate(given_program) for op in ops}
    assert {moved for event in result.path for moved in event.moved} <= shown
    assert bool(result.circuit) == result.hangs
    for item, following in zip(result.circuit, result.circuit[1:], strict=False):
        assert following.rank in item.waits_for or following.rank == item.rank


@given(programs(wildcards=True, most=5), plain_world)
def test_every_counterexample_replays_and_every_circuit_is_one(given_program: Program, rules: Any) -> None:
    result = check(given_program, used(given_program, rules), engine="explorer")
    if result.verdict == "ok":
        assert not (result.path or result.circuit or result.blocked or result.lost)
        return
    if wildcard_free(given_program):  # else the path also tells which message a receive took, once both are posted
        follows_the_program(given_program, result)
    if result.hangs:
        is_a_circuit(given_program, result)
    else:
        assert result.lost
        assert not result.blocked


@given(programs(), st.sampled_from(["gloo", "mpich", "eager"]) | st.integers(0, 3).map("bounded({})".format))
@settings(max_examples=200)
def test_statement_2_slack_never_harms_without_wildcards(given_program: Program, promise: str) -> None:
    if check(given_program, NAMED["rendezvous"], engine="explorer").verdict == "ok":
        assert check(given_program, semantics(promise), engine="explorer").verdict == "ok"


@given(programs(), st.integers(0, 3))
def test_more_room_never_harms_without_wildcards(given_program: Program, capacity: int) -> None:
    if check(given_program, bounded(capacity)).verdict == "ok":
        assert check(given_program, bounded(capacity + 1)).verdict == "ok"


def test_the_random_programs_show_every_verdict() -> None:
    """So none of the properties above holds for want of cases."""
    rules = {name: semantics(name) for name in ("rendezvous", "gloo", "mpich", "eager", "bounded(1)")}
    seen: Counter[tuple[str, ...]] = Counter()

    @given(programs())
    @settings(max_examples=400, derandomize=True, database=None)
    def tally(made: Program) -> None:
        verdicts = {name: check(made, rules[name]).verdict for name in rules}
        seen.update(("verdict", *case) for case in verdicts.items())
        seen["only buffering helps",] += verdicts["rendezvous"] == "deadlock" and verdicts["bounded(1)"] == "ok"
        seen.update({("call", type(op).__name__) for ops in made for op in ops})

    tally()
    assert all(seen["verdict", name, verdict] >= 10 for name in rules for verdict in ("ok", "deadlock")), seen
    assert all(seen["verdict", name, "lost"] >= 3 for name in ("mpich", "eager", "bounded(1)")), seen
    assert seen["only buffering helps",] >= 3, seen  # the converse of statement 2 fails
    assert all(seen["call", call] >= 50 for call in ("Send", "Recv", "Isend", "Irecv", "Wait", "Batch")), seen
