"""The search itself, on systems that have nothing to do with rings."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.states.bfs import explore, one_schedule, replay

Cell = tuple[int, int]


@dataclass(frozen=True)
class Grid:
    """Steps right ("r") and up ("u") from (0, 0) to (width, height); no step leaves a hole."""

    width: int
    height: int
    holes: frozenset[Cell] = frozenset()

    def initial(self) -> Cell:
        return 0, 0

    def enabled(self, state: Cell) -> Sequence[str]:
        if state in self.holes:
            return []
        return ["r"] * (state[0] < self.width) + ["u"] * (state[1] < self.height)

    def step(self, state: Cell, step: str) -> Cell:
        return (state[0] + 1, state[1]) if step == "r" else (state[0], state[1] + 1)


@dataclass(frozen=True)
class Cycle:
    """Goes round for ever: states, and no ending."""

    length: int

    def initial(self) -> int:
        return 0

    def enabled(self, state: int) -> Sequence[None]:
        return [None]

    def step(self, state: int, step: None) -> int:
        return (state + 1) % self.length


@given(st.integers(0, 8), st.integers(0, 8))
def test_every_state_once_and_every_transition_once(width: int, height: int) -> None:
    seen = explore(Grid(width, height), max_states=100)
    assert seen.states == (width + 1) * (height + 1)
    assert seen.transitions == width * (height + 1) + height * (width + 1)
    (ending,) = seen.endings
    assert ending.state == (width, height)
    assert len(ending.path) == width + height


def test_endings_come_nearest_first_with_a_shortest_path_each() -> None:
    holes = frozenset({(3, 1), (1, 1)})
    seen = explore(Grid(4, 4, holes), max_states=100)
    assert [ending.state for ending in seen.endings] == [(1, 1), (3, 1), (4, 4)]
    for ending in seen.endings:
        assert len(ending.path) == sum(ending.state)
        *_, (before, step) = replay(Grid(4, 4, holes), ending.path)
        assert Grid(4, 4).step(before, step) == ending.state


def test_one_state_without_steps_is_an_ending_with_an_empty_path() -> None:
    seen = explore(Grid(0, 0), max_states=1)
    assert (seen.states, seen.transitions, seen.endings[0].path) == (1, 0, ())


def test_a_system_that_never_ends_has_no_endings() -> None:
    seen = explore(Cycle(7), max_states=7)
    assert (seen.states, seen.transitions, seen.endings) == (7, 7, ())


def test_the_bound_on_states_is_exact_and_names_itself() -> None:
    assert explore(Grid(4, 1), max_states=10).states == 10
    with pytest.raises(ValueError, match="more than 9 states"):
        explore(Grid(4, 1), max_states=9)


def test_progress_is_told_a_growing_number_of_states_that_ends_at_all() -> None:
    told: list[int] = []
    seen = explore(Grid(3, 3), max_states=100, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == seen.states


@given(st.integers(0, 6), st.integers(0, 6))
def test_one_schedule_is_one_maximal_run(width: int, height: int) -> None:
    seen = one_schedule(Grid(width, height))
    (ending,) = seen.endings
    assert ending.state == (width, height)
    assert seen.states == len(ending.path) + 1 == width + height + 1
    assert "".join(ending.path) == "r" * width + "u" * height


def test_replay_gives_the_states_along_a_path() -> None:
    assert list(replay(Grid(1, 1), ["u", "r"])) == [((0, 0), "u"), ((0, 1), "r")]


def test_replay_refuses_a_step_that_is_not_possible() -> None:
    with pytest.raises(ValueError, match=r"step 2 of the path, r, is not possible in \(1, 1\)"):
        list(replay(Grid(1, 3), ["r", "u", "r"]))


def test_the_number_of_paths_does_not_count() -> None:
    assert explore(Grid(9, 9), max_states=100).states == 100 < comb(18, 9)
