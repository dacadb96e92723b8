"""Where bounded buffers have room: for each send the receive that frees its slot, without running.

Receives of a channel (communicator, source, destination) pass in the order of their posts, at both ends, so the room
for a message comes at one certain receive, whatever the interleaving. With n messages it takes n log n steps.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate

import numpy as np

from model.semantics.arrays import NONE, Ints
from model.semantics.columns import Columns
from model.semantics.matching import class_numbers

STORED, RENDEZVOUS = -2, -1
"""Of a send: stored at once; never stored before its receive is posted. Else: the receive that frees its slot."""

_NEVER = 1 << 62  # more receives than there are


def freeing_receives(columns: Columns, partner: Ints, *, repeated: bool = False) -> tuple[Ints, Ints]:
    """By message, of sends: `STORED`, `RENDEZVOUS` or the receive that frees its slot, and how many rounds before.

    partner: by message, as `matching.partners` gives it. repeated: the program goes round for ever, so that a slot
    may be freed by a receive of a round before; then every message must have a partner.
    """
    slot = np.full(len(columns.at), RENDEZVOUS, dtype=np.int64)
    lag = np.zeros(len(columns.at), dtype=np.int64)
    slot[columns.always] = STORED
    bounded = columns.sends & ((columns.capacity > 0) | (columns.fifo > 0))
    if not bounded.any():
        return slot, lag
    channel = class_numbers(columns, tags=False)
    sends = np.flatnonzero(columns.sends & np.isin(channel, channel[bounded]))
    sends = sends[np.argsort(channel[sends], kind="stable")]
    starts = np.flatnonzero(np.diff(channel[sends], prepend=-1))
    lengths = np.diff(np.append(starts, len(sends)))
    waiting = np.arange(len(sends)) - np.repeat(starts, lengths)
    total = np.cumsum(columns.nbytes[sends])
    total -= np.repeat((total - columns.nbytes[sends])[starts], lengths)  # of the channel, up to and with this send
    if not repeated:
        capacity, fifo = columns.capacity[sends], columns.fifo[sends]
        fits = (waiting < capacity) | ((fifo > 0) & (total <= fifo))  # even if nothing is received
        slot[sends[fits & bounded[sends]]] = STORED
    undecided = np.flatnonzero(bounded[sends] & (slot[sends] != STORED))
    for part in np.unique(np.searchsorted(starts, undecided, side="right") - 1).tolist():
        own = sends[starts[part] : starts[part] + lengths[part]]
        slot[own], lag[own] = _of_channel(columns, partner, own, slot[own].tolist(), repeated=repeated)
    return slot, lag


def _of_channel(
    columns: Columns, partner: Ints, sends: Ints, slots: list[int], *, repeated: bool
) -> tuple[list[int], list[int]]:
    """Slots and lags of the sends of one channel, in the order of their posts; `slots`: what is known before."""
    recvs, nbytes = partner[sends].tolist(), columns.nbytes[sends].tolist()
    capacity, fifo = columns.capacity[sends].tolist(), columns.fifo[sends].tolist()
    order = sorted(recv for recv in recvs if recv != NONE)
    size = dict(zip(recvs, nbytes, strict=True))
    whole = [0, *accumulate(size[recv] for recv in order)]  # bytes of all that is received before each
    taken = _Taken(len(order))
    lags = [0] * len(slots)
    waiting_bytes = 0
    for number, (recv, own) in enumerate(zip(recvs, nbytes, strict=True)):
        if (capacity[number] or fifo[number]) and slots[number] != STORED:
            # so many receives, or receives of so many bytes, must be over before
            many = number - capacity[number] + 1 if capacity[number] else _NEVER
            much = waiting_bytes + own - fifo[number] if 0 < fifo[number] >= own else _NEVER
            if many > 0 and much > 0:
                at = taken.first(many, much)
                sooner = at == len(order) or NONE != recv < order[at]  # the send's own receive is posted before that
                slots[number] = RENDEZVOUS if sooner else order[at]
            elif not repeated:
                slots[number] = STORED
            else:
                slots[number], lags[number] = _of_round_before(order, whole, many, much)
        waiting_bytes += own
        if recv != NONE:
            taken.add(bisect_left(order, recv), own)
    return slots, lags


def _of_round_before(order: list[int], whole: list[int], many: int, much: int) -> tuple[int, int]:
    """(slot, lag) of a send that has room though nothing of its own round is received: its slot is freed before that.

    Receives of the rounds before are places in `order` that go on below zero.
    """
    candidates = []
    if many != _NEVER:
        candidates.append(many - 1)
    if much != _NEVER:
        if not whole[-1]:
            return STORED, 0  # no message has a byte
        rounds, rest = divmod(much - 1, whole[-1])
        candidates.append(rounds * len(order) + bisect_right(whole, rest) - 1)
    rounds, at = divmod(min(candidates), len(order))
    return order[at], -rounds


class _Taken:
    """How many of the earlier sends, and how many bytes of them, are received up to each receive (Fenwick 1994)."""

    def __init__(self, recvs: int) -> None:
        self._counts, self._bytes = [0] * (recvs + 1), [0] * (recvs + 1)

    def add(self, at: int, nbytes: int) -> None:
        """The send whose receive is number `at` of the channel comes before those that are asked for from now on."""
        at += 1
        while at < len(self._counts):
            self._counts[at] += 1
            self._bytes[at] += nbytes
            at += at & -at

    def first(self, many: int, much: int) -> int:
        """The first receive up to which so many sends, or so many bytes of them, are received; else their number."""
        at, step = 0, 1 << (len(self._counts) - 1).bit_length()
        while step:
            ahead = at + step
            if ahead < len(self._counts) and self._counts[ahead] < many and self._bytes[ahead] < much:
                at, many, much = ahead, many - self._counts[ahead], much - self._bytes[ahead]
            step >>= 1
        return at
