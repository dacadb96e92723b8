"""Packed states against the plain explorer: same states, transitions and endings on everything that packs."""

import itertools
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from model.program.checked import Program, program
from model.program.ops import ANY, Compute, Recv, Send
from model.rings.orderings import NAMED, ordering
from model.rings.ring_program import ring
from model.semantics.columns import columns_of
from model.semantics.guards import guards_of
from model.semantics.libraries import semantics
from model.semantics.lowering import lower
from model.semantics.parameters import Semantics
from model.states.bfs import explore
from model.states.machine import Machine
from model.states.packed_bfs import Interrupted, search, symmetry
from model.states.position_guards import Guard, GuardsByThread, guards_by_thread
from model.validation.spin import spin_processes
from tests.model.small_programs import any_semantics, programs

MANY = 10**7


def packed(made: Program, rules: Semantics) -> GuardsByThread:
    return guards_by_thread(guards_of(columns_of(lower(made, rules))))


def parity(ranks: int, rounds: int, promise: str = "rendezvous") -> GuardsByThread:
    return packed(ring(ranks=ranks, rounds=rounds, ordering=NAMED["parity"]), semantics(promise))


@settings(max_examples=300)
@given(programs(), any_semantics)
def test_same_states_transitions_and_endings_as_the_plain_explorer(made: Program, rules: Semantics) -> None:
    try:
        machine = Machine(guards_of(columns_of(lower(made, rules))))
    except ValueError:
        return  # a library that has no such operation
    plain = explore(machine, max_states=MANY)
    fast = search(machine.code, max_states=MANY)
    assert (fast.states, fast.transitions) == (plain.states, plain.transitions)
    assert list(fast.endings) == [ending.state for ending in plain.endings]
    assert fast.levels == len(plain.endings[0].path) + 1


@pytest.mark.parametrize("promise", ["rendezvous", "bounded(1)", "eager", "nccl", "gloo"])
def test_rings_of_more_than_one_word(promise: str) -> None:
    machine = Machine(
        guards_of(columns_of(lower(ring(ranks=5, rounds=2, ordering=NAMED["parity"]), semantics(promise))))
    )
    plain = explore(machine, max_states=MANY)
    wide = tuple(code + (Guard(needs=((0, 10**6),)),) * 10_000 for code in machine.code)  # never passed
    fast = search(wide, max_states=MANY)
    assert (fast.states, fast.transitions) == (plain.states, plain.transitions)


def orbit(heads: tuple[int, ...], turn: int) -> set[tuple[int, ...]]:
    return {heads[-by:] + heads[:-by] for by in range(0, len(heads), turn)}


@pytest.mark.parametrize(
    ("vector", "promise", "turn"),
    [("SRSRSR", "rendezvous", 2), ("SSSSSS", "bounded(1)", 1), ("SSRSSR", "eager", 3), ("SSSRRR", "eager", 6)],
)
def test_rotation_counts_the_classes_of_states(vector: str, promise: str, turn: int) -> None:
    machine = Machine(
        guards_of(columns_of(lower(ring(ranks=6, rounds=2, ordering=ordering(vector, 6)), semantics(promise))))
    )
    by_thread = machine.code
    assert symmetry(by_thread) == turn
    states, todo = {machine.initial()}, [machine.initial()]
    while todo:
        state = todo.pop()
        after = {machine.step(state, step) for step in machine.enabled(state)} - states
        states |= after
        todo += after
    classes = {min(orbit(state, turn)) for state in states}
    reduced = search(by_thread, max_states=MANY, rotate=True)
    assert reduced.states == len(classes)
    assert sum(len(orbit(heads, turn)) for heads in classes) == search(by_thread, max_states=MANY).states


def test_a_ring_with_one_odd_rank_has_no_symmetry() -> None:
    assert symmetry(packed(ring(ranks=4, rounds=1, ordering=ordering("SSSR", 4)), semantics("eager"))) == 4


@pytest.mark.parametrize("after", [0, 1, 5, 20])
def test_an_interrupted_search_resumes_to_the_same_counts(after: int, tmp_path: Path) -> None:
    whole = search(parity(6, 3, "eager"), max_states=MANY)
    file, told = tmp_path / "checkpoint.npz", list[int]()

    def interrupt(states: int) -> None:
        told.append(states)
        if len(told) > after:
            os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C does

    with pytest.raises(Interrupted, match="--resume"):
        search(parity(6, 3, "eager"), max_states=MANY, progress=interrupt, checkpoint=file)
    seen: list[int] = []
    assert search(parity(6, 3, "eager"), max_states=MANY, resume=file, progress=seen.append) == whole
    assert len(seen) == whole.levels - after
    assert [file] == list(tmp_path.iterdir())


def test_without_a_file_an_interrupt_is_only_an_interrupt() -> None:
    def interrupt(states: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        search(parity(4, 1), max_states=MANY, progress=interrupt)
    assert not isinstance(caught.value, Interrupted)


def test_a_checkpoint_of_another_search_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.npz"

    def interrupt(states: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        search(parity(4, 1), max_states=MANY, progress=interrupt, checkpoint=file)
    with pytest.raises(ValueError, match="another program"):
        search(parity(4, 2), max_states=MANY, resume=file)
    with pytest.raises(ValueError, match="another program"):
        search(parity(4, 1), max_states=MANY, resume=file, rotate=True)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"nonsense", None])
def test_a_file_that_is_no_checkpoint_is_refused(content: Any, tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.npz"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError, match="cannot resume from"):
        search(parity(4, 1), max_states=MANY, resume=file)


def test_bounds_on_states_and_on_memory() -> None:
    whole = search(parity(6, 3, "eager"), max_states=673)
    assert whole.states == 673
    with pytest.raises(ValueError, match="more than 672 states"):
        search(parity(6, 3, "eager"), max_states=672)
    with pytest.raises(ValueError, match="--max-memory"):
        search(parity(6, 3, "eager"), max_states=MANY, max_memory=1000)


def test_a_table_that_grows_loses_nothing_and_counts_nothing_twice() -> None:
    """Of one state all 11 ranks may step, so frontiers grow faster than the first table has room for."""
    free = ((Guard(),) * 2,) * 11
    found = search(free, max_states=MANY)
    assert found.states == 3**11
    assert found.transitions == 11 * 2 * 3**10
    assert found.endings == ((2,) * 11,)


@pytest.mark.parametrize("threads", [1, 3])
def test_nothing_to_do_is_one_state(threads: int) -> None:
    assert search(((),) * threads, max_states=MANY).states == 1


def test_wildcards_do_not_pack() -> None:
    made = program([[Recv(peer=ANY)], [Send(peer=0)]])
    with pytest.raises(ValueError, match="wildcard"):
        packed(made, semantics("eager"))


def test_processes_end_in_reverse_order() -> None:
    """Two ranks of one local step: 4 states while both live, 2 more once the second ended, 1 once both did."""
    for code in ((), (Guard(),)):
        assert search(spin_processes((code, code), init=False), max_states=MANY).states == 4 + 2 + 1


def test_starting_process_adds_its_two_states() -> None:
    made = program([Compute(), *ops] for ops in ring(ranks=3, rounds=1, ordering=NAMED["parity"]))
    plain = packed(made, semantics("rendezvous"))
    without, added = (search(spin_processes(plain, init=init), max_states=MANY) for init in (False, True))
    assert added.states == without.states + 2


def test_every_vector_of_three_ranks_under_rotation_keeps_its_verdict() -> None:
    for letters in itertools.product("SR", repeat=3):
        made = packed(ring(ranks=3, rounds=2, ordering=ordering("".join(letters), 3)), semantics("rendezvous"))
        whole, reduced = (search(made, max_states=MANY, rotate=rotate) for rotate in (False, True))
        assert whole.endings == reduced.endings
