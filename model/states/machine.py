"""The transition system of a program without wildcard receives: positions, and the guards that let them move.

A state is the position of every thread; what is in flight follows from it (`model.semantics.guards`). One step is one
thread passing its instruction, or a send and a receive that both block passing together (rendezvous).
"""

from __future__ import annotations

from typing import NamedTuple

from model.semantics.guards import Guards
from model.states.position_guards import Guard, guards_by_thread

Positions = tuple[int, ...]
"""By thread, the number of its next instruction."""


class ThreadStep(NamedTuple):
    """Thread `thread` passes its instruction, together with thread `partner` if any."""

    thread: int
    partner: int | None = None


class Machine:
    """The transition system of one program."""

    def __init__(self, guards: Guards) -> None:
        self.guards = guards
        self.code = guards_by_thread(guards)

    def initial(self) -> Positions:
        """The state in which no rank has done anything."""
        return (0,) * len(self.code)

    def finished(self, state: Positions) -> bool:
        """Whether every thread has come to its end."""
        return all(at == len(code) for at, code in zip(state, self.code, strict=True))

    def enabled(self, state: Positions) -> list[ThreadStep]:
        """Every step that may happen next."""
        steps = (self._step(state, thread) for thread in range(len(self.code)))
        return [step for step in steps if step is not None]

    def persistent(self, state: Positions) -> list[ThreadStep]:
        """Enough of `enabled` to reach every ending: any one step, as it neither harms nor depends on the others."""
        return self.enabled(state)[:1]

    def step(self, state: Positions, step: ThreadStep) -> Positions:
        """The state after `step`, which must be enabled."""
        after = list(state)
        after[step.thread] += 1
        if step.partner is not None:
            after[step.partner] += 1
        return tuple(after)

    def ready(self, state: Positions, thread: int) -> Guard | None:
        """The guard that the thread is at, or None at its end or where its instruction is not yet handed over."""
        code, at = self.code[thread], state[thread]
        if at == len(code):
            return None
        after = code[at].after
        return None if after is not None and state[after[0]] < after[1] else code[at]

    def _step(self, state: Positions, thread: int) -> ThreadStep | None:
        guard = self.ready(state, thread)
        if guard is None:
            return None
        if all(state[other] >= position for other, position in guard.needs) and (
            not guard.any_of or any(state[other] >= position for other, position in guard.any_of)
        ):
            return ThreadStep(thread)
        if guard.meets is not None:
            other, position = guard.meets
            if state[other] == position and self.ready(state, other) is not None:
                return ThreadStep(thread, partner=other)
        return None
