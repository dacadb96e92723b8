"""Exhaustive search over any transition system; knows nothing of ranks, rings or libraries."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

S = TypeVar("S")
T = TypeVar("T")


class TransitionSystem(Protocol[S, T]):
    """What the search needs of a model. States are hashable; `enabled` is deterministic."""

    def initial(self) -> S: ...
    def enabled(self, state: S) -> Sequence[T]: ...
    def step(self, state: S, step: T) -> S: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending(Generic[S, T]):
    """A state without steps, and a path to it from the initial state."""

    state: S
    path: tuple[T, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration(Generic[S, T]):
    """What a search saw. `endings` are all states without steps, the nearest first."""

    states: int
    transitions: int
    endings: tuple[Ending[S, T], ...]


def explore(
    system: TransitionSystem[S, T],
    *,
    max_states: int,
    progress: Callable[[int], None] | None = None,
    advice: str = "",
) -> Exploration[S, T]:
    """Every reachable state, breadth first, so that the path to an ending is a shortest one.

    `progress` is called with the number of states so far. Raises ValueError past `max_states`; advice: what else
    helps then.
    """
    first = system.initial()
    parents: dict[S, tuple[S, T] | None] = {first: None}
    frontier = deque([first])
    ends: list[S] = []
    transitions = 0
    while frontier:
        state = frontier.popleft()
        steps = system.enabled(state)
        transitions += len(steps)
        if not steps:
            ends.append(state)
        for step in steps:
            reached = system.step(state, step)
            if reached not in parents:
                parents[reached] = (state, step)
                frontier.append(reached)
        if len(parents) > max_states:
            raise ValueError(too_many(max_states, advice))
        if progress is not None:
            progress(len(parents))
    return Exploration(
        states=len(parents),
        transitions=transitions,
        endings=tuple(Ending(state=end, path=_path(parents, end)) for end in ends),
    )


ONE_RUN_DECIDES = (
    "leave out --engine explorer: without wildcard receives one run decides (--engine schedule, or graph for a large "
    "program)"
)
"""What helps past the bound where guards say all."""


def too_many(max_states: int, advice: str) -> str:
    """What a user is told past the bound. advice: what helps beside a higher bound."""
    return f"more than {max_states} states; raise --max-states" + (f", or {advice}" if advice else "")


def one_schedule(system: TransitionSystem[S, T]) -> Exploration[S, T]:
    """One maximal run. It decides for every run where an enabled step stays enabled (statement 1)."""
    state, path = system.initial(), list[T]()
    while steps := system.enabled(state):
        state = system.step(state, steps[0])
        path.append(steps[0])
    ending = Ending(state=state, path=tuple(path))
    return Exploration(states=len(path) + 1, transitions=len(path), endings=(ending,))


def replay(system: TransitionSystem[S, T], path: Sequence[T]) -> Iterator[tuple[S, T]]:
    """(state, step) along a path; ValueError where the system does not allow the next step."""
    state = system.initial()
    for number, step in enumerate(path):
        if step not in system.enabled(state):
            raise ValueError(f"step {number} of the path, {step}, is not possible in {state}")
        yield state, step
        state = system.step(state, step)


def _path(parents: dict[S, tuple[S, T] | None], end: S) -> tuple[T, ...]:
    path: list[T] = []
    link = parents[end]
    while link is not None:
        path.append(link[1])
        link = parents[link[0]]
    return tuple(reversed(path))
