"""Every state of a program by the fastest way there is: packed where its guards pack, else one by one."""

from __future__ import annotations

from collections.abc import Callable

from model.states.bfs import ONE_RUN_DECIDES, Exploration, explore, one_schedule
from model.states.machine import Machine, Positions, ThreadStep
from model.states.options import Options
from model.states.wildcards import InFlight, WildcardMachine, WildcardStep

_ONE_BY_ONE = "wildcards: the states do not pack into machine words and were explored one by one"


def explore_positions(
    machine: Machine, options: Options, *, max_states: int, progress: Callable[[int], None] | None = None
) -> tuple[Exploration[Positions, ThreadStep], str]:
    """What was seen of a program without wildcard receives, and a note for the reader where it could not be packed.

    Raises ValueError past the bounds, and where a program that does not pack is to be turned or resumed;
    Interrupted (of `packed_bfs`) once an interrupt has left a checkpoint.
    """
    if options.reduce == "persistent":
        _whole(options, "a search of persistent sets")
        return explore(_Reduced(machine), max_states=max_states, progress=progress, advice=ONE_RUN_DECIDES), ""
    if machine.guards.has_alternatives:
        _one_by_one(options)
        return explore(machine, max_states=max_states, progress=progress, advice=ONE_RUN_DECIDES), _ONE_BY_ONE
    from model.states.packed_bfs import search  # numba is slow to import

    counts = search(
        machine.code,
        max_states=max_states,
        max_memory=options.max_memory,
        rotate=options.reduce == "rotation",
        progress=progress,
        checkpoint=options.checkpoint,
        resume=options.resume,
    )
    (ending,) = one_schedule(machine).endings
    # all maximal runs end in the same state (statement 1), so any run is a path to it, and none is shorter
    assert len(counts.endings) == 1 and sorted(counts.endings[0]) == sorted(ending.state)
    return Exploration(states=counts.states, transitions=counts.transitions, endings=(ending,)), ""


def explore_wildcards(
    machine: WildcardMachine, options: Options, *, max_states: int, progress: Callable[[int], None] | None = None
) -> tuple[Exploration[InFlight, WildcardStep], str]:
    """The same of a program with wildcard receives, whose states are explored one by one."""
    if options.reduce == "persistent":
        _whole(options, "a search of persistent sets")
        return explore(_ReducedWildcards(machine), max_states=max_states, progress=progress), ""
    _one_by_one(options)
    return explore(machine, max_states=max_states, progress=progress, advice="give --reduce persistent"), _ONE_BY_ONE


def _one_by_one(options: Options) -> None:
    if options.reduce == "rotation":
        raise ValueError("no rotation: which send a wildcard meets depends on the interleaving; "
                         "give --reduce persistent or none")  # fmt: skip
    _whole(options, "a program with wildcards")


def _whole(options: Options, what: str) -> None:
    if options.checkpoint is not None or options.resume is not None:
        raise ValueError(f"{what} cannot be resumed; leave out --checkpoint and --resume")


class _Reduced:
    """A machine with fewer steps and the same endings."""

    def __init__(self, machine: Machine) -> None:
        self.initial, self.enabled, self.step = machine.initial, machine.persistent, machine.step


class _ReducedWildcards:
    """The same of a program with wildcard receives."""

    def __init__(self, machine: WildcardMachine) -> None:
        self.initial, self.enabled, self.step = machine.initial, machine.persistent, machine.step
