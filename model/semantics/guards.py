"""Guards: for each instruction, the positions to which other threads must have come before it passes.

The one place that says what an instruction waits for. Without wildcard receives the n-th send of a class meets the
n-th receive (`matching`) and a slot of a buffer is freed by one certain receive (`buffer_slots`), so the positions of
the threads are the whole state: what is in flight follows from them. An instruction passes once each of its
preconditions holds, and an enabled step stays enabled (statement 1). `states` steps over positions, `events` weighs
the same preconditions with time, `verdict.wait_for` reads those that do not hold, and SPIN's export prints them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.semantics.arrays import NONE, Bools, Ints
from model.semantics.buffer_slots import RENDEZVOUS, freeing_receives
from model.semantics.columns import Columns
from model.semantics.matching import partners, probed_sends

HANDED_OVER, POSTED, PARTNER, MEETS, SLOT, BARRIER, CONNECTION, ABSENT, PROBE = range(9)
"""Kinds of preconditions.

HANDED_OVER: an instruction of another thread is passed, which gives this one its work. POSTED: the message that is
awaited is posted; of a blocking instruction, itself. PARTNER: the other end of the message is posted. MEETS: the same
of two ends that both block, which pass together. SLOT: a receive has freed a slot for the message. BARRIER, CONNECTION:
another thread has come to the same barrier or set-up. ABSENT: one that never comes. PROBE: a send is posted; of several
preconditions PROBE of one instruction any one will do.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """The preconditions of a program: a row each, in columns.

    instruction: what waits. kind: of the precondition. other: the instruction that must be come to, NONE where none
    will ever do. passed: whether it must be passed, or only come to. message: the one to be completed; posted: the one
    whose post is waited for; NONE where the precondition is of another kind. rank: the rank that is waited for.
    partner, slot, lag: by message, as `matching.partners` and `freeing_receives` give them.
    """

    columns: Columns
    instruction: Ints
    kind: Ints
    other: Ints
    passed: Bools
    message: Ints
    posted: Ints
    rank: Ints
    partner: Ints
    slot: Ints
    lag: Ints

    @property
    def size(self) -> int:
        """The number of instructions."""
        return len(self.columns.index)

    @property
    def has_alternatives(self) -> bool:
        """Whether some probe passes by any of several sends: then no one graph holds all that can happen."""
        probing = self.instruction[self.kind == PROBE]
        return len(np.unique(probing)) < len(probing)

    def unreceived(self, positions: Ints) -> Ints:
        """The messages that are posted and never meet another, where every thread ends at its position."""
        columns = self.columns
        local = columns.at - np.repeat(columns.starts[:-1], np.diff(columns.starts))[columns.at]
        posted = positions[columns.thread_of()[columns.at]] > local
        left: Ints = np.flatnonzero(posted & ~((self.partner != NONE) & posted[self.partner]))
        return left


def guards_of(columns: Columns, *, repeated: bool = False) -> Guards:
    """The guards of one run, or with `repeated` of the program repeated for ever.

    Raises ValueError where a repeated program leaves messages over in each round.
    """
    partner = partners(columns)
    if repeated and (partner == NONE).any():
        odd = int(np.flatnonzero(partner == NONE)[0])
        raise ValueError(
            f"rank {columns.owner[odd]} has a message with rank {columns.peer[odd]} that is left over in every round; "
            "repeat a program whose sends and receives are equal in number"
        )
    slot, lag = freeing_receives(columns, partner, repeated=repeated)
    blocks = [*_completions(columns, partner, slot), _handed_over(columns), *_meetings(columns), _probes(columns, slot)]
    names = ("instruction", "kind", "other", "passed", "message", "posted", "rank")
    rows = {name: np.concatenate(parts) for name, parts in zip(names, zip(*blocks, strict=True), strict=True)}
    return Guards(columns=columns, partner=partner, slot=slot, lag=lag, **rows)


_Block = tuple[Ints, Ints, Ints, Bools, Ints, Ints, Ints]  # rows in the order of the fields of `Guards`


def _block(
    kind: int | Ints,
    instruction: Ints,
    other: Ints,
    rank: Ints,
    *,
    passed: bool | Bools,
    message: Ints | int = NONE,
    posted: Ints | int = NONE,
) -> _Block:
    def wide(value: int | Ints) -> Ints:
        return np.broadcast_to(np.asarray(value, dtype=np.int64), (len(instruction),))

    holds = np.broadcast_to(np.asarray(passed, dtype=np.bool_), (len(instruction),))
    return instruction, wide(kind), other, holds, wide(message), wide(posted), rank


def _completions(columns: Columns, partner: Ints, slot: Ints) -> list[_Block]:
    """What it takes that a message is complete: by the instruction that blocks in it, and by those that await it."""
    blocked = np.flatnonzero(columns.blocking)
    message = np.concatenate((blocked, columns.awaits[:, 1]))
    instruction = np.concatenate((columns.at[blocked], columns.awaits[:, 0]))
    post, other = columns.at[message], partner[message]
    sends = columns.sends[message]
    send = np.where(sends, message, other)
    how = np.where(send == NONE, RENDEZVOUS, slot[send])

    met = ~sends | (how == RENDEZVOUS)  # a send that is stored does not wait for its receive
    waits, end, ends = message[met], other[met], instruction[met]
    posts = np.where(end == NONE, NONE, columns.at[end])
    thread = columns.thread_of()
    joint = columns.blocking[waits] & (end != NONE) & columns.blocking[end] & (how[met] == RENDEZVOUS)
    joint &= (ends == columns.at[waits]) & (thread[posts] != thread[ends])
    kind = np.where(joint, MEETS, PARTNER)

    freed = np.flatnonzero(how >= 0)
    freeing = how[freed]
    return [
        _block(
            POSTED, instruction, post, columns.owner[message],
            passed=post != instruction, message=message, posted=message,
        ),
        _block(kind, ends, posts, columns.peer[waits], passed=~joint, message=waits, posted=end),
        _block(
            SLOT, instruction[freed], columns.at[freeing], columns.owner[freeing],
            passed=True, message=message[freed], posted=freeing,
        ),
    ]  # fmt: skip


def _handed_over(columns: Columns) -> _Block:
    waits = np.flatnonzero(columns.after != NONE)
    other = columns.after[waits]
    return _block(HANDED_OVER, waits, other, columns.rank_of[columns.thread_of()[other]], passed=True)


def _meetings(columns: Columns) -> list[_Block]:
    thread = columns.thread_of()
    met = [
        _block(kind, pairs[:, 0], pairs[:, 1], columns.rank_of[thread[pairs[:, 1]]], passed=False)
        for kind, pairs in ((BARRIER, columns.meets), (CONNECTION, columns.connects))
    ]
    gone = columns.absent
    return [*met, _block(ABSENT, gone[:, 0], np.full(len(gone), NONE, dtype=np.int64), gone[:, 1], passed=True)]


def _probes(columns: Columns, slot: Ints) -> _Block:
    """A probe sees a send that is posted, or blocked at its head; one that is stored has to be posted first."""
    rows = np.array(probed_sends(columns), dtype=np.int64).reshape(-1, 3)
    probe, send, rank = rows[:, 0], rows[:, 1], rows[:, 2]
    thread = columns.thread_of()
    freed = slot[send] if len(slot) else send
    freeing = np.where(freed >= 0, columns.at[freed] if len(slot) else NONE, NONE)
    before = (freeing != NONE) & (thread[freeing] == thread[probe]) & (freeing < probe)
    blocks = columns.blocking[send] if len(slot) else send == NONE
    passed = ((freed < RENDEZVOUS) | before) | ~blocks
    other = np.where(send == NONE, NONE, columns.at[send] if len(slot) else NONE)
    return _block(PROBE, probe, other, rank, passed=passed, posted=send)
