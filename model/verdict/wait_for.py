"""Who waits for whom where no thread can go on, and the shortest circuit that explains it.

Read off the guards: a thread that is stuck waits for the threads of the preconditions that do not hold. (A program with
wildcard receives has its own reading of its instructions.) Small programs and a million ranks go the same way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from model.program.ops import ANY
from model.semantics.arrays import NONE, Bools, Ints
from model.semantics.guards import HANDED_OVER, MEETS, POSTED, Guards
from model.states.wildcards import InFlight, WildcardMachine
from model.verdict.circuit import shortest_circuit
from model.verdict.result import MAX_LISTED, Blocked

OperationText = Callable[[int, int], str]
"""(rank, index) -> the operation's text."""

_MAX_PLAIN = 500
"""Arcs up to which plain Python has found a circuit before compiled code is loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitFor:
    """blocked: every stuck rank, or the first `MAX_LISTED`. circuit: those of a shortest circuit, each waiting for the
    next and the last for the first, as many at most; without a circuit, the chain to a rank that has finished.
    polls: whether one of them polls in a send. stuck, length: how many ranks are stuck, and stand in the circuit.
    """

    blocked: tuple[Blocked, ...] = ()
    circuit: tuple[Blocked, ...] = ()
    polls: bool = False
    stuck: int = 0
    length: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stuck:
    """The stuck threads, numbered through, and what they wait for.

    thread, rank, index (of the operation): by stuck thread. waits: what each arc starts from; other: the stuck thread
    that it ends in, NONE where that is a rank that may do nothing any more; peer: the rank waited for, NONE where the
    arc is between threads of one rank, of which one gives the other its work. polls: whether it is a send that polls.
    """

    thread: Ints
    rank: Ints
    index: Ints
    waits: Ints
    other: Ints
    peer: Ints
    polls: Bools


def wait_for_of_guards(guards: Guards, positions: Ints, shown: OperationText) -> WaitFor:
    """The explanation of positions from which no thread goes on; empty where every thread is at its end.

    positions: by thread.
    """
    return _explained(_stuck(guards, positions), shown)


def wait_for_of_wildcards(machine: WildcardMachine, state: InFlight, shown: OperationText) -> WaitFor:
    """The same of a program with wildcard receives, in a state without steps."""
    return _explained(_stuck_of_wildcards(machine, state), shown)


def _stuck(guards: Guards, positions: Ints) -> _Stuck:
    columns = guards.columns
    thread_of, heads = columns.thread_of(), columns.starts[:-1] + positions
    stuck = np.flatnonzero(heads < columns.starts[1:])
    number = np.full(len(columns.rank_of), NONE, dtype=np.int64)
    number[stuck] = np.arange(len(stuck))
    at_head = np.zeros(guards.size, dtype=np.bool_)
    at_head[heads[stuck]] = True

    rows = np.flatnonzero(at_head[guards.instruction])
    instruction, kind, other = guards.instruction[rows], guards.kind[rows], guards.other[rows]
    message = guards.message[rows]
    thread = np.where(other == NONE, NONE, thread_of[other])
    reached = (other != NONE) & (heads[thread] >= other + guards.passed[rows])
    # of a message that is not posted, or work that is not handed over, nothing else matters yet
    first = ~reached & ((kind == HANDED_OVER) | (kind == POSTED))
    idle = np.isin(instruction, instruction[first & (kind == HANDED_OVER)]) & (kind != HANDED_OVER)
    unposted = np.zeros(len(columns.at) + 1, dtype=np.bool_)  # the last stands for no message
    unposted[message[first]] = True
    unposted[NONE] = False
    # two ends that meet wait for each other until both are there, and handed over
    posts = np.append(columns.at, NONE)[message] == instruction  # such a message is posted by coming to it
    unmet = ~(reached & (kind != MEETS)) & ~idle & (first | posts | ~unposted[message])
    own = (kind == HANDED_OVER) | (kind == POSTED)
    sends = columns.sends & columns.polling
    polls = np.append(sends, False)[message] & ~own
    keep = np.flatnonzero(unmet)
    return _with_missing(
        _Stuck(
            thread=stuck,
            rank=columns.rank_of[stuck],
            index=columns.index[heads[stuck]],
            waits=number[thread_of[instruction[keep]]],
            other=np.where(thread[keep] == NONE, NONE, number[thread[keep]]),
            peer=np.where(own[keep], NONE, guards.rank[rows[keep]]),
            polls=polls[keep],
        )
    )


def _stuck_of_wildcards(machine: WildcardMachine, state: InFlight) -> _Stuck:
    heads = [(rank, head) for rank in range(len(machine.code)) if (head := machine.head(state, rank)) is not None]
    arcs: list[tuple[int, int, bool]] = []  # (stuck thread, rank waited for, whether a send polls)
    for number, (rank, head) in enumerate(heads):
        arcs += [(number, other, False) for other in head.missing_partners]
        arcs += [(number, other, False) for other, at in head.rendezvous_partners if state.positions[other] < at]
        ends = [machine.messages[message] for message in machine.incomplete(state, head)]
        for end in ends if head.probes is None else [head.probes]:
            peers = [end.peer] if end.peer != ANY else [peer for peer in range(len(machine.code)) if peer != rank]
            arcs += [(number, peer, end.sends and end.semantics.polling) for peer in peers]
    return _with_missing(
        _Stuck(
            thread=np.array([rank for rank, _ in heads], dtype=np.int64),
            rank=np.array([rank for rank, _ in heads], dtype=np.int64),
            index=np.array([head.index for _, head in heads], dtype=np.int64),
            waits=np.array([number for number, _, _ in arcs], dtype=np.int64),
            other=np.full(len(arcs), NONE, dtype=np.int64),
            peer=np.array([peer for _, peer, _ in arcs], dtype=np.int64),
            polls=np.array([polls for _, _, polls in arcs], dtype=np.bool_),
        )
    )


def _with_missing(stuck: _Stuck) -> _Stuck:
    """An arc to a rank ends in each of its stuck threads, where it is not known which of them should come."""
    order = np.argsort(stuck.rank, kind="stable")
    ranks = stuck.rank[order]
    first, last = (np.searchsorted(ranks, stuck.peer, side=side) for side in ("left", "right"))
    missing = (stuck.other == NONE) & (stuck.peer != NONE)
    copies = np.where(missing, np.maximum(last - first, 1), 1)
    rows = np.repeat(np.arange(len(copies)), copies)
    nth = np.arange(len(rows)) - np.repeat(np.cumsum(copies) - copies, copies)
    found = missing[rows] & (last > first)[rows]
    other = stuck.other[rows]
    other[found] = order[first[rows[found]] + nth[found]]
    return _Stuck(
        thread=stuck.thread, rank=stuck.rank, index=stuck.index,
        waits=stuck.waits[rows], other=other, peer=stuck.peer[rows], polls=stuck.polls[rows],
    )  # fmt: skip


def _explained(stuck: _Stuck, shown: OperationText) -> WaitFor:
    nodes = len(stuck.thread)
    if not nodes:
        return WaitFor()
    waits_for_rank = np.bincount(stuck.waits[stuck.peer != NONE], minlength=nodes) > 0
    told = waits_for_rank | (np.bincount(stuck.waits, minlength=nodes) == 0)  # others only wait within their rank
    explanation = np.array(_circuit(stuck) or _chain(stuck), dtype=np.int64)
    members = explanation[told[explanation]]
    everyone = np.flatnonzero(told)
    everyone = everyone[np.lexsort((stuck.thread[everyone], stuck.rank[everyone]))]
    return WaitFor(
        blocked=_blocked(stuck, everyone[:MAX_LISTED], shown),
        circuit=_blocked(stuck, members[:MAX_LISTED], shown),
        polls=bool(stuck.polls[np.isin(stuck.waits, members)].any()),
        stuck=int(np.count_nonzero(np.bincount(stuck.rank))),  # np.unique would import numpy.ma
        length=len(members),
    )


def _blocked(stuck: _Stuck, members: Ints, shown: OperationText) -> tuple[Blocked, ...]:
    peers: dict[int, set[int]] = defaultdict(set)
    rows = np.flatnonzero(np.isin(stuck.waits, members) & (stuck.peer != NONE))
    for number, peer in zip(stuck.waits[rows].tolist(), stuck.peer[rows].tolist(), strict=True):
        peers[number].add(peer)
    return tuple(
        Blocked(rank=rank, op=shown(rank, index), index=index, waits_for=tuple(sorted(peers[number])))
        for number, rank, index in zip(
            members.tolist(), stuck.rank[members].tolist(), stuck.index[members].tolist(), strict=True
        )
    )


def _circuit(stuck: _Stuck) -> Sequence[int]:
    """The stuck threads of a shortest circuit, the least of them first; empty where there is none."""
    known = np.flatnonzero(stuck.other != NONE)
    tails, heads = stuck.waits[known], stuck.other[known]
    if len(known) <= _MAX_PLAIN:
        waits: dict[int, list[int]] = defaultdict(list)
        for tail, head in zip(tails.tolist(), heads.tolist(), strict=True):
            waits[tail].append(head)
        return shortest_circuit(waits)
    from model.events.shortest_circuit import circuit_of_arcs  # numba is slow to import

    arcs = circuit_of_arcs(len(stuck.thread), tails, heads, np.ones(len(tails), dtype=np.int64))
    nodes = tails[arcs]
    return np.roll(nodes, -int(nodes.argmin())).tolist() if len(nodes) else []


def _chain(stuck: _Stuck) -> list[int]:
    """The nearest way from the first stuck thread to one that waits for a finished rank; else the first alone."""
    ends = set(stuck.waits[(stuck.other == NONE)].tolist())
    waits: dict[int, list[int]] = defaultdict(list)
    for tail, head in zip(stuck.waits.tolist(), stuck.other.tolist(), strict=True):
        if head != NONE:
            waits[tail].append(head)
    for first in range(len(stuck.thread)):
        before = {first: NONE}
        queue = [first]
        for at in queue:
            if at in ends:
                path = [at]
                while before[path[-1]] != NONE:
                    path.append(before[path[-1]])
                return path[::-1]
            fresh = [head for head in waits[at] if head not in before]
            before.update(dict.fromkeys(fresh, at))
            queue += fresh
    return [0]
