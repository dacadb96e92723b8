"""Lowered programs in columns, for engines that take a million ranks: from `lowering`, or straight from a table.

Both ways give the same columns (a test holds them equal). Instructions of a thread stand together, in order.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.program.ops import Barrier, Compute, Isend
from model.semantics.arrays import NONE, Bools, Ints
from model.semantics.instructions import Instruction, Lowered

_LARGE = 1 << 60  # more messages, and more bytes, than any bounded buffer holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Columns by thread, by instruction, by message, and rows of several numbers.

    rank_of: by thread. starts: thread t has the instructions starts[t] to starts[t + 1] - 1.
    index: of the operation in its rank's list. silent: a half of an operation that no path shows. seconds: of compute.
    after: an instruction to be passed before, or NONE.
    at: the instruction that posts a message; sends, owner, peer, tag, comm, nbytes: what it is. blocking: whether that
    instruction passes only once the message is stored or matched. early: whether it then passes at the match rather
    than at the arrival. always: stored at once. capacity, fifo: as in `Semantics`, for others; 0 without buffering.
    polling: whether a send that waits polls.
    awaits: (instruction, message). meets: (instruction, instruction come to), connects: the same for set-up of
    connections. absent: (instruction, rank that never comes). probes: (instruction, peer, tag, comm).
    """

    ranks: int
    rank_of: Ints
    starts: Ints
    index: Ints
    silent: Bools
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
    polling: Bools
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

    Raises ValueError on wildcard receives: which send they meet depends on the interleaving.
    """
    if lowered.wild:
        raise ValueError(
            "wildcard receives: which send they meet depends on the interleaving; ask check, which tries every one"
        )
    starts = np.cumsum([0, *(len(thread.code) for thread in lowered.threads)]).astype(np.int64)
    code = [item for thread in lowered.threads for item in thread.code]
    probes = [(number, item.probes) for number, item in enumerate(code) if item.probes is not None]
    comms = sorted({end.comm for end in lowered.messages} | {probe.comm for _, probe in probes})
    number_of = {name: number for number, name in enumerate(comms)}
    return Columns(
        ranks=lowered.ranks,
        rank_of=_ints([thread.rank for thread in lowered.threads]),
        starts=starts,
        index=_ints([item.index for item in code]),
        silent=_bools([item.silent for item in code]),
        seconds=np.array([item.op.seconds if isinstance(item.op, Compute) else 0.0 for item in code], dtype=np.float64),
        after=_ints([NONE if item.after is None else starts[item.after.thread] + item.after.at for item in code]),
        **_messages(lowered, code, starts, number_of),
        awaits=_rows(
            [(number, message) for number, item in enumerate(code) if item.kind == "await" for message in item.messages]
        ),
        meets=_meetings(code, starts, barriers=True),
        connects=_meetings(code, starts, barriers=False),
        absent=_rows([(number, rank) for number, item in enumerate(code) for rank in item.missing_partners]),
        probes=_rows([(number, one.peer, one.tag, number_of[one.comm]) for number, one in probes], width=4),
    )


def _messages(lowered: Lowered, code: list[Instruction], starts: Ints, number_of: dict[str, int]) -> dict[str, Any]:
    """The columns by message."""
    ends = lowered.messages
    posts = [code[starts[thread] + at] for thread, at in lowered.posts]
    always = [end.sends and end.stored(_LARGE, _LARGE) for end in ends]
    bounded = [end.mode == "standard" and end.sends and not stored for end, stored in zip(ends, always, strict=True)]
    rules = [end.semantics for end in ends]
    return {
        "at": _ints([starts[thread] + at for thread, at in lowered.posts]),
        "sends": _bools([end.sends for end in ends]),
        "owner": _ints([end.rank for end in ends]),
        "peer": _ints([end.peer for end in ends]),
        "tag": _ints([end.tag for end in ends]),
        "comm": _ints([number_of[end.comm] for end in ends]),
        "nbytes": _ints([end.nbytes for end in ends]),
        "blocking": _bools([post.blocking for post in posts]),
        "early": _bools(
            [
                post.blocking and isinstance(post.op, Isend) and one.isend_returns == "match"
                for post, one in zip(posts, rules, strict=True)
            ]
        ),
        "always": _bools(always),
        "capacity": _ints([one.capacity if bound else 0 for one, bound in zip(rules, bounded, strict=True)]),
        "fifo": _ints([one.fifo if bound else 0 for one, bound in zip(rules, bounded, strict=True)]),
        "polling": _bools([one.polling for one in rules]),
    }


def _meetings(code: list[Instruction], starts: Ints, *, barriers: bool) -> Ints:
    """(instruction, instruction come to) of barriers, or of connections."""
    return _rows(
        [
            (number, int(starts[other.thread]) + other.at)
            for number, item in enumerate(code)
            if isinstance(item.op, Barrier) == barriers
            for other in item.rendezvous_partners
        ]
    )


def _ints(values: list[int]) -> Ints:
    return np.array(values, dtype=np.int64)


def _bools(values: list[bool]) -> Bools:
    return np.array(values, dtype=np.bool_)


def _rows(values: list[tuple[int, ...]], width: int = 2) -> Ints:
    return np.array(values, dtype=np.int64).reshape(-1, width)
