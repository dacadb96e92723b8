"""Lowered programs in columns, for engines that take a million ranks: from `lowering`, or straight from a table.

Both ways give the same columns (a test holds them equal). Instructions of a thread stand together, in order.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from model.program.ops import Barrier, Compute, Isend
from model.semantics.arrays import NONE, Bools, Ints
from model.semantics.instructions import Location, Lowered
from model.semantics.matching import probed


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Columns by thread, by instruction, by message, and pairs.

    rank_of: by thread. starts: thread t has the instructions starts[t] to starts[t + 1] - 1.
    index: of the operation in its rank's list. seconds: of compute. after: an instruction to be passed before, or NONE.
    at: the instruction that posts a message; sends, owner, peer, tag, comm, nbytes: what it is. blocking: whether that
    instruction passes only once the message is stored or matched. early: whether it then passes at the match rather
    than at the arrival. always: stored at once. capacity, fifo: as in `Semantics`, for others; 0 without buffering.
    awaits: pairs (instruction, message). meets: (instruction, instruction come to), connects: the same for set-up of
    connections. absent: instructions whose peer never comes. probes: (instruction, send, or NONE where there is none).
    """

    ranks: int
    rank_of: Ints
    starts: Ints
    index: Ints
    seconds: NDArray[np.float64]
    after: Ints
    at: Ints
    sends: Bools
    owner: Ints
    peer: Ints
    tag: Ints
    comm: Ints
    nbytes: Ints
    blocking: Bools
    early: Bools
    always: Bools
    capacity: Ints
    fifo: Ints
    awaits: Ints
    meets: Ints
    connects: Ints
    absent: Ints
    probes: Ints

    def thread_of(self) -> Ints:
        """By instruction."""
        return np.repeat(np.arange(len(self.rank_of)), np.diff(self.starts))

    def same_as(self, other: Columns) -> bool:
        """Whether every column is equal."""
        return all(np.array_equal(getattr(self, field.name), getattr(other, field.name)) for field in fields(self))


def columns_of(lowered: Lowered) -> Columns:
    """The columns of a lowered program.

    Raises ValueError on wildcard receives and probes: which send they meet depends on the schedule.
    """
    if lowered.wild:
        raise ValueError("wildcard receives: no one graph decides; use --engine explorer")
    starts = np.cumsum([0, *(len(thread.code) for thread in lowered.threads)])
    code = [item for thread in lowered.threads for item in thread.code]
    ends = lowered.messages
    posts = np.array([starts[thread] + at for thread, at in lowered.posts], dtype=np.int64)
    comms = {name: number for number, name in enumerate(sorted({end.comm for end in ends}))}
    answers = probed(lowered)
    rules = [end.semantics for end in ends]
    standard = [end.mode == "standard" for end in ends]
    always = [end.sends and end.stored(1 << 60, 1 << 60) for end in ends]
    barrier = [isinstance(item.op, Barrier) for item in code]
    places = [Location(thread, at) for thread, one in enumerate(lowered.threads) for at in range(len(one.code))]
    meetings = [(number, starts[place.thread] + place.at) for number, item in enumerate(code) for place in item.meets]
    return Columns(
        ranks=lowered.ranks,
        rank_of=_ints([thread.rank for thread in lowered.threads]),
        starts=starts.astype(np.int64),
        index=_ints([item.index for item in code]),
        seconds=np.array([item.op.seconds if isinstance(item.op, Compute) else 0.0 for item in code], dtype=np.float64),
        after=_ints([NONE if item.after is None else starts[item.after.thread] + item.after.at for item in code]),
        at=posts,
        sends=_bools([end.sends for end in ends]),
        owner=_ints([end.rank for end in ends]),
        peer=_ints([end.peer for end in ends]),
        tag=_ints([end.tag for end in ends]),
        comm=_ints([comms[end.comm] for end in ends]),
        nbytes=_ints([end.nbytes for end in ends]),
        blocking=_bools([code[at].blocking for at in posts]),
        early=_bools(
            [
                code[at].blocking and isinstance(code[at].op, Isend) and one.isend_returns == "match"
                for at, one in zip(posts, rules, strict=True)
            ]
        ),
        always=_bools(always),
        capacity=_ints(
            [
                one.capacity if plain and end.sends and not stored else 0
                for one, plain, end, stored in zip(rules, standard, ends, always, strict=True)
            ]
        ),
        fifo=_ints(
            [
                one.fifo if plain and end.sends and not stored else 0
                for one, plain, end, stored in zip(rules, standard, ends, always, strict=True)
            ]
        ),
        awaits=_pairs(
            [(number, message) for number, item in enumerate(code) if item.kind == "await" for message in item.messages]
        ),
        meets=_pairs([pair for pair in meetings if barrier[pair[0]]]),
        connects=_pairs([pair for pair in meetings if not barrier[pair[0]]]),
        absent=_ints([number for number, item in enumerate(code) if item.absent]),
        probes=_pairs(
            [
                (number, NONE if (send := answers[places[number]]) is None else send)
                for number, item in enumerate(code)
                if item.kind == "probe"
            ]
        ),
    )


def _ints(values: list[int]) -> Ints:
    return np.array(values, dtype=np.int64)


def _bools(values: list[bool]) -> Bools:
    return np.array(values, dtype=np.bool_)


def _pairs(values: list[tuple[int, int]]) -> Ints:
    return np.array(values, dtype=np.int64).reshape(-1, 2)
