"""Which send meets which receive, without running: first in, first out, for programs without wildcard receives.

The n-th send of a class (communicator, source, destination, tag) meets the n-th receive of that class,
whatever the interleaving (statement 1). The messages of a class are numbered in the order of their posts.
"""

from __future__ import annotations

import numpy as np

from model.program.ops import ANY
from model.semantics.arrays import NONE, Ints
from model.semantics.columns import Columns


def partners(columns: Columns) -> Ints:
    """By message the one that it meets, or NONE."""
    partner = np.full(len(columns.at), NONE, dtype=np.int64)
    if not len(partner):
        return partner
    number = class_numbers(columns, tags=True)
    order = np.lexsort((columns.sends, number))  # stable: within a class and direction by number
    number, sends = number[order], columns.sends[order]
    change = np.diff(number, prepend=-1).astype(np.bool_) | np.diff(sends, prepend=False).astype(np.bool_)
    change[0] = True
    starts = np.flatnonzero(change)
    nth = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    key = number * (nth.max() + 1) + nth
    _, mine, theirs = np.intersect1d(key[sends], key[~sends], assume_unique=True, return_indices=True)
    send, recv = order[sends][mine], order[~sends][theirs]
    partner[send], partner[recv] = recv, send
    return partner


def class_numbers(columns: Columns, *, tags: bool) -> Ints:
    """By message a number of its communicator, source, destination and, with `tags`, tag."""
    source = np.where(columns.sends, columns.owner, columns.peer)
    target = np.where(columns.sends, columns.peer, columns.owner)
    tag = np.unique(columns.tag, return_inverse=True)[1] if tags else np.zeros_like(columns.tag)
    wide = ((columns.comm * (int(tag.max()) + 1) + tag) * columns.ranks + source) * columns.ranks + target
    assert (int(columns.comm.max()) + 1) * (int(tag.max()) + 1) * columns.ranks**2 < 2**62
    numbers: Ints = np.unique(wide, return_inverse=True)[1]
    return numbers


def probed_sends(columns: Columns) -> list[tuple[int, int, int]]:
    """(probe, send, rank of its sender): any one of these sends lets the probe pass, once it is posted.

    For a sender and tag that is the first send which no receive before the probe takes. The send is NONE where a rank
    that the probe waits for has no such send. A probe of any source or tag has several entries.
    """
    found: list[tuple[int, int, int]] = []
    if not len(columns.probes):
        return found
    ends: dict[tuple[int, int, int, int], tuple[list[int], list[int]]] = {}
    rows = (columns.comm, columns.owner, columns.peer, columns.tag, columns.sends)
    for message, (comm, owner, peer, tag, sends) in enumerate(zip(*(row.tolist() for row in rows), strict=True)):
        key = (comm, owner, peer, tag) if sends else (comm, peer, owner, tag)
        ends.setdefault(key, ([], []))[0 if sends else 1].append(message)
    threads = columns.thread_of()
    for probe, peer, tag, comm in columns.probes.tolist():
        own = int(columns.rank_of[threads[probe]])
        sources = [rank for rank in range(columns.ranks) if rank != own] if peer == ANY else [peer]
        if peer == ANY and any(key[0] == comm and key[1] == key[2] == own for key in ends):
            sources.append(own)
        for source in sources:
            candidates = []
            for (of, sender, target, tagged), (sends, recvs) in ends.items():
                if (of, sender, target) == (comm, source, own) and tag in (tagged, ANY):
                    before = sum(int(columns.index[columns.at[recv]] < columns.index[probe]) for recv in recvs)
                    candidates += sends[before : before + 1]
            found += [(probe, send, source) for send in candidates or [NONE]]
    return found
