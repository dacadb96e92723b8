"""Every state of a machine by the fastest way there is: packed where the program packs, else one by one."""

from __future__ import annotations

from collections.abc import Callable

from model.semantics.guards import Gates, gates
from model.states.bfs import Exploration, explore, one_schedule
from model.states.machine import Machine, State, Step
from model.states.options import Options


def explore_machine(
    machine: Machine, options: Options, *, max_states: int, progress: Callable[[int], None] | None = None
) -> tuple[Exploration[State, Step], str]:
    """What was seen, and a note for the reader where the packed search could not run.

    Raises ValueError past the bounds, and where a program that does not pack is to be turned or resumed;
    Interrupted (of `search`) once an interrupt has left a checkpoint.
    """
    if options.reduce == "persistent":
        _whole(options, "a search of persistent sets")
        return explore(_Reduced(machine), max_states=max_states, progress=progress), ""
    try:
        given = gates(machine.lowered)
    except ValueError as error:
        if options.reduce == "rotation":
            raise ValueError(f"no rotation: {error}; give --reduce persistent or none") from None
        _whole(options, "a program with wildcards")
        return (
            explore(machine, max_states=max_states, progress=progress),
            "wildcards: the states do not pack into machine words and were explored one by one",
        )
    return _packed(machine, given, options, max_states, progress), ""


def _packed(
    machine: Machine, given: Gates, options: Options, max_states: int, progress: Callable[[int], None] | None
) -> Exploration[State, Step]:
    from model.states.packed_bfs import search  # numba is slow to import

    counts = search(
        given,
        max_states=max_states,
        max_memory=options.max_memory,
        rotate=options.reduce == "rotation",
        progress=progress,
        checkpoint=options.checkpoint,
        resume=options.resume,
    )
    (ending,) = one_schedule(machine).endings
    # all maximal runs end in the same state (statement 1), so any run is a path to it, and none is shorter
    assert len(counts.endings) == 1 and sorted(counts.endings[0]) == sorted(ending.state.heads)
    return Exploration(states=counts.states, transitions=counts.transitions, endings=(ending,))


def _whole(options: Options, what: str) -> None:
    if options.checkpoint is not None or options.resume is not None:
        raise ValueError(f"{what} cannot be resumed; leave out --checkpoint and --resume")


class _Reduced:
    """A machine with fewer steps and the same endings."""

    def __init__(self, machine: Machine) -> None:
        self.initial, self.enabled, self.step = machine.initial, machine.persistent, machine.step
