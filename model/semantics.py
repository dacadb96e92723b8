"""What a communication library promises: when an isend returns, and how much it buffers.

Two parameters decide every verdict here: when the call of an isend returns, and how much of what was
sent and not yet received the library stores. A program may use several communicators with libraries of
their own, so engines take a `World`: semantics by communicator name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

UNLIMITED = -1
"""No bound, for `capacity` and `eager_limit`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Semantics:
    """One library's behaviour.

    isend_returns: `post` (at once) or `match` (when the message is stored or its receive is posted).
    eager_limit: messages of at most so many bytes are stored at once; larger ones are not.
    capacity: how many messages a channel (communicator, source, destination) stores, for messages over
        the eager limit; 0 is rendezvous.
    source: where this is known from.
    """

    name: str
    isend_returns: Literal["post", "match"]
    eager_limit: int = 0
    capacity: int = 0
    source: str

    def stores(self, nbytes: int, waiting: int) -> bool:
        """Whether a message of `nbytes` is stored when `waiting` earlier ones of its channel are not yet received."""
        if self.eager_limit == UNLIMITED or (self.eager_limit > 0 and nbytes <= self.eager_limit):
            return True
        return self.capacity == UNLIMITED or waiting < self.capacity


World = Mapping[str, Semantics]
"""Semantics by communicator; the key `*` serves every communicator that has none of its own."""

EVERY_COMM = "*"

NAMED: Mapping[str, Semantics] = {
    semantics.name: semantics
    for semantics in (
        Semantics(
            name="rendezvous",
            isend_returns="match",
            source="definition: send and isend return when the matching receive is posted",
        ),
        Semantics(
            name="eager",
            isend_returns="post",
            eager_limit=UNLIMITED,
            source="definition: every message is stored at once",
        ),
        Semantics(
            name="gloo",
            isend_returns="post",
            source="measured with torch 2.13 on CPU: rendezvous at every size, isend returns at once",
        ),
        Semantics(
            name="xccl",
            isend_returns="match",
            source="read from sgl-project/sglang#23472: isend polls until the receive is posted; not measured here",
        ),
        Semantics(
            name="mpich",
            isend_returns="post",
            eager_limit=8112,
            source="measured with MPICH 5.0 in shared memory: MPI_Send of 8112 bytes returns, of 8113 waits",
        ),
    )
}


def bounded(capacity: int) -> Semantics:
    """A channel stores `capacity` messages; send and isend return once theirs is stored or received."""
    if capacity < 0:
        raise ValueError(f"bounded({capacity}): the capacity is negative; give 0 (rendezvous) or more")
    return Semantics(
        name=f"bounded({capacity})",
        isend_returns="match",
        capacity=capacity,
        source="definition: a channel stores a fixed number of messages",
    )


def semantics(name: str) -> Semantics:
    """The semantics of a name of `NAMED` or of `bounded(k)`; ValueError on any other."""
    if name in NAMED:
        return NAMED[name]
    if match := re.fullmatch(r"bounded(?:\((-?[0-9]{1,9})\)|:(-?[0-9]{1,9}))", name):
        return bounded(int(match[1] or match[2]))
    raise ValueError(f"unknown semantics {name!r}; choose one of {', '.join(NAMED)}, bounded(k)")


def world(given: Semantics | World) -> World:
    """Semantics for every communicator, from one for all or from a mapping."""
    return {EVERY_COMM: given} if isinstance(given, Semantics) else given


def of_comm(given: World, comm: str) -> Semantics:
    """The semantics of one communicator; ValueError where neither it nor `*` is declared."""
    found = given.get(comm) or given.get(EVERY_COMM)
    if found is None:
        raise ValueError(f"no semantics for communicator {comm!r}; declare it, or '*' for every communicator")
    return found
