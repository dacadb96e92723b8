"""The guards of a small program as positions, thread by thread: what the engines that step through states read."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from model.semantics.arrays import NONE
from model.semantics.guards import HANDED_OVER, MEETS, PROBE, SLOT, Guards

UNREACHED = 2**31 - 1
"""A position that no thread comes to."""

Precondition = tuple[int, int]
"""(thread, position): that thread is there or further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """One instruction. It is handed over once `after` holds, and then passes alone once all `needs` hold, and one of
    `any_of` if there are any.

    meets: of a receive, (thread, position): it passes together with that thread, when that thread is there and what
    stands there is handed over.
    """

    needs: tuple[Precondition, ...] = ()
    after: Precondition | None = None
    meets: Precondition | None = None
    any_of: tuple[Precondition, ...] = ()


GuardsByThread = tuple[tuple[Guard, ...], ...]
"""Index t holds the guards of thread t, in order."""


def guards_by_thread(guards: Guards) -> GuardsByThread:
    """The guards of every instruction, as positions.

    Of two ends that meet the receive leads: it passes with the send, which never passes alone.
    """
    columns = guards.columns
    thread_of = columns.thread_of()
    starts = columns.starts
    own = thread_of[guards.instruction]
    thread = np.where(guards.other == NONE, own, thread_of[guards.other])
    position = np.where(guards.other == NONE, UNREACHED, guards.other - starts[thread] + guards.passed)
    sends = columns.sends[guards.message] if len(columns.sends) else np.zeros(len(own), dtype=np.bool_)
    needs: list[list[Precondition]] = [[] for _ in range(guards.size)]
    any_of: list[list[Precondition]] = [[] for _ in range(guards.size)]
    after: list[Precondition | None] = [None] * guards.size
    meets: list[Precondition | None] = [None] * guards.size
    rows = (guards.instruction, guards.kind, guards.other, own, thread, position, sends)
    for at, kind, other, of, whose, where, sending in zip(*(row.tolist() for row in rows), strict=True):
        if other == at or (kind == SLOT and not sending):
            continue  # it is posted where it stands; its slot is free once its send is posted, which it waits for
        if kind == HANDED_OVER:
            after[at] = (whose, where)
        elif kind == PROBE:
            any_of[at].append((whose, where))
        elif kind == MEETS and sending:
            needs[at].append((of, UNREACHED))
        elif kind == MEETS:
            needs[at].append((whose, where + 1))
            meets[at] = (whose, where)
        else:
            needs[at].append((whose, where))
    for at, ways in enumerate(any_of):
        if len(ways) == 1:
            needs[at] += ways
    made = [
        Guard(needs=tuple(need), after=before, meets=met, any_of=tuple(ways) if len(ways) > 1 else ())
        for need, before, met, ways in zip(needs, after, meets, any_of, strict=True)
    ]
    bounds = starts.tolist()
    return tuple(tuple(made[first:last]) for first, last in pairwise(bounds))
