"""Which way a machine is explored, and that every way comes to the same verdict."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.program.checked import Program, program
from model.program.ops import ANY, Recv, Send
from model.rings.orderings import NAMED
from model.rings.ring_program import ring
from model.semantics.libraries import semantics
from model.semantics.lowering import lower
from model.semantics.parameters import Semantics
from model.states.options import Options
from model.states.strategy import explore_wildcards
from model.states.wildcards import WildcardMachine
from model.verdict.decide import check
from tests.model.small_programs import any_semantics, programs

RACE = program([[Recv(peer=ANY), Recv(peer=2)], [Send(peer=0)], [Send(peer=0)]])


@st.composite
def raced(draw: st.DrawFn) -> Program:
    """Two or three ranks send to rank 0, which takes some of it from anybody."""
    senders = draw(st.integers(2, 3))
    sent = [[Send(peer=0, tag=draw(st.integers(0, 1)))] * draw(st.integers(1, 2)) for _ in range(senders)]
    taken = [
        Recv(peer=draw(st.sampled_from([ANY, rank])), tag=op.tag)
        for rank, ops in enumerate(sent, start=1)
        for op in ops
    ]
    return program([draw(st.permutations(taken)), *sent])


@given(programs(), any_semantics, st.sampled_from(["persistent", "rotation"]))
def test_every_reduction_keeps_the_verdict(made: Program, rules: Semantics, reduce: Any) -> None:
    try:
        whole = check(made, rules, engine="explorer")
        less = check(made, rules, engine="explorer", explore=Options(reduce=reduce))
    except ValueError:
        return  # a library without such an operation, or probes and wildcards
    assert less.verdict == whole.verdict
    assert less.states <= whole.states
    assert less.blocked == whole.blocked


@given(raced(), st.sampled_from(["rendezvous", "bounded(1)", "eager", "mpich"]))
def test_persistent_sets_keep_the_verdict_of_races(made: Program, promise: str) -> None:
    whole = check(made, semantics(promise), engine="explorer")
    less = check(made, semantics(promise), engine="explorer", explore=Options(reduce="persistent"))
    assert less.verdict == whole.verdict
    assert less.states <= whole.states


def test_persistent_sets_of_a_race_keep_every_ending() -> None:
    """Rank 2's message taken by the first receive is a deadlock; rank 1's is not."""
    machine = WildcardMachine(lower(RACE, semantics("eager")))
    seen = {
        reduce: explore_wildcards(machine, Options(reduce=reduce), max_states=1000)[0]  # type: ignore[arg-type]
        for reduce in ("none", "persistent")
    }
    ends = {reduce: {ending.state for ending in found.endings} for reduce, found in seen.items()}
    assert ends["persistent"] == ends["none"]
    assert len(ends["none"]) == 2
    assert seen["persistent"].states < seen["none"].states


def test_wildcards_are_explored_one_by_one_and_the_note_says_so() -> None:
    assert "one by one" in check(RACE, semantics("eager"), engine="explorer").note
    made = ring(ranks=3, rounds=1, ordering=NAMED["parity"])
    assert check(made, semantics("eager"), engine="explorer").note == ""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (Options(reduce="rotation"), "no rotation: .* --reduce persistent or none"),
        (Options(checkpoint=Path("file")), "wildcards cannot be resumed"),
        (Options(reduce="persistent", resume=Path("file")), "persistent sets cannot be resumed"),
    ],
)
def test_what_does_not_go_together_is_refused(options: Options, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check(RACE, semantics("eager"), engine="explorer", explore=options)


@pytest.mark.parametrize("engine", [None, "schedule"])
def test_options_of_the_explorer_are_never_dropped(engine: Any) -> None:
    made = ring(ranks=3, rounds=1, ordering=NAMED["parity"])
    with pytest.raises(ValueError, match="--reduce rotation is for the engine explorer"):
        check(made, semantics("eager"), engine=engine, explore=Options(reduce="rotation"))


def test_the_path_of_a_packed_search_replays_to_the_deadlock() -> None:
    made = ring(ranks=4, rounds=2, ordering=NAMED["receive-first"])
    made = program(
        [Send(peer=(rank + 1) % 4, tag=7), Recv(peer=(rank - 1) % 4, tag=7), *ops] for rank, ops in enumerate(made)
    )
    result = check(made, semantics("eager"), engine="explorer")
    assert result.verdict == "deadlock"
    assert len(result.path) == 8
    assert len(result.circuit) == 4
