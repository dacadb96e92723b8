"""Ordering policies: which of its two halves, sending and receiving, a rank of the ring does first.

An ordering of P ranks is a vector in {S,R}^P (theory, "Frame"). A policy is data: the serving loop, the
named programs, the explorer and the real transport all ask the same `halves`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from model.program.numbers import check_whole

SendOrRecv = Literal["S", "R"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordering:
    """A named policy. `first(rank, ranks)` is the half that the rank does first.

    grouped: whether both halves are posted as one group, and waited for together; `first` is then the half that
    stands first in the group's list, which matters where a library replays it.
    """

    name: str
    description: str
    first: Callable[[int, int], SendOrRecv]
    grouped: bool = False

    def halves(self, rank: int, ranks: int) -> tuple[SendOrRecv, SendOrRecv]:
        """Both halves of a ring step of this rank, in the order in which it does them."""
        return ("S", "R") if self.first(rank, ranks) == "S" else ("R", "S")

    def vector(self, ranks: int) -> str:
        """The letters of all ranks, such as `SRSR`."""
        return "".join(self.first(rank, ranks) for rank in range(ranks))


def _parity(rank: int, ranks: int) -> SendOrRecv:
    return "S" if rank % 2 == 0 else "R"


NAMED: Mapping[str, Ordering] = {
    ordering.name: ordering
    for ordering in (
        Ordering(
            name="send-first",
            description="every rank sends first; deadlocks where a send waits for its receive (statement 3)",
            first=lambda rank, ranks: "S",
        ),
        Ordering(
            name="receive-first",
            description="every rank receives first; deadlocks under every semantics (statement 7)",
            first=lambda rank, ranks: "R",
        ),
        Ordering(
            name="parity",
            description="even ranks send first, odd ranks receive first; never deadlocks (statement 3)",
            first=_parity,
        ),
        Ordering(
            name="last-sends-first",
            description="only the last rank sends first, the order of a blocking pipeline loop (statement 8)",
            first=lambda rank, ranks: "S" if rank == ranks - 1 else "R",
        ),
        Ordering(
            name="one-receives-first",
            description="only rank 1 receives first: the least change to send-first that cures it",
            first=lambda rank, ranks: "R" if rank == 1 else "S",
        ),
    )
}

BATCHED = Ordering(
    name="batched",
    description="both halves of every rank as one group, the send first in its list; for libraries that queue or defer",
    first=lambda rank, ranks: "S",
    grouped=True,
)

POLICIES: Mapping[str, Ordering] = {**NAMED, BATCHED.name: BATCHED}
"""What the output phase of the serving loop can be told: the orderings of a ring, and the group."""


def ordering(name: str, ranks: int) -> Ordering:
    """The policy of a name of `NAMED`, or of an explicit vector such as `SRS`.

    Raises ValueError on an unknown name and on a vector whose length is not `ranks`.
    """
    check_whole("ranks", ranks, 1)
    if name in NAMED:
        return NAMED[name]
    if name and set(name) <= {"S", "R"}:
        if len(name) != ranks:
            raise ValueError(f"ordering {name!r} has {len(name)} letters for {ranks} ranks; give {ranks} letters")
        return Ordering(
            name=name, description="an explicit vector", first=lambda rank, _: "S" if name[rank] == "S" else "R"
        )
    raise ValueError(f"unknown ordering {name!r}; choose one of {', '.join(NAMED)}, or a vector of S and R such as SRS")


def output_policy(name: str, ranks: int) -> Ordering:
    """The policy of the serving loop's output phase: a name of `POLICIES`, or a vector. ValueError on any other."""
    if name == BATCHED.name:
        return BATCHED
    try:
        return ordering(name, ranks)
    except ValueError as error:
        raise ValueError(str(error).replace(", or a vector", f", {BATCHED.name}, or a vector")) from None
