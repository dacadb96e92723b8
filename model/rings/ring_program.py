"""The program of a ring, as lists of operations and as a table: of ranks, rounds, an ordering and a style of calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, get_args

from model.program.checked import Program, program
from model.program.numbers import check_whole
from model.program.ops import Batch, Irecv, Isend, Operation, Recv, Send, Wait
from model.rings.orderings import Ordering, SendOrRecv

if TYPE_CHECKING:
    from model.semantics.table import Table

Style = Literal["send", "isend-wait", "isend", "batch"]
"""How one ring step is written: blocking calls; each isend waited for at once; the isend waited for at the
end of the step; isend and irecv posted as one group."""

STYLES: tuple[Style, ...] = get_args(Style)

MAX_LISTED_STEPS = 1_000_000
"""Ring steps that are written as lists of operations: beyond, they fill the memory, and a table does not."""

MAX_TABLE_STEPS = 20_000_000
"""Ring steps of a table: its event graph takes about 1.5 KB for each."""


def ring(*, ranks: int, rounds: int, ordering: Ordering, style: Style = "send", nbytes: int = 1) -> Program:
    """`rounds` ring steps: every rank sends to rank + 1 and receives from rank - 1, in its order.

    Raises ValueError where there are fewer than 2 ranks, fewer than 1 round or an unknown style.
    """
    _check_sizes(ranks, rounds, nbytes)
    if ranks * rounds > MAX_LISTED_STEPS:
        raise ValueError(
            f"{ranks} ranks x {rounds} rounds are more than {MAX_LISTED_STEPS} lists of operations can hold; "
            "use --engine graph with style send"
        )
    if style not in STYLES:
        raise ValueError(f"unknown style {style!r}; choose one of {', '.join(STYLES)}")
    return program(
        [
            op
            for _ in range(rounds)
            for op in ring_step(
                halves=ordering.halves(rank, ranks),
                following=(rank + 1) % ranks,
                previous=(rank - 1) % ranks,
                style=style,
                nbytes=nbytes,
            )
        ]
        for rank in range(ranks)
    )


def ring_step(
    *, halves: tuple[SendOrRecv, SendOrRecv], following: int, previous: int, style: Style, nbytes: int
) -> Iterator[Operation]:
    """One rank's operations of one ring step, in the order of `halves`."""
    if style == "batch":
        group: dict[SendOrRecv, Isend | Irecv] = {
            "S": Isend(peer=following, request="s", nbytes=nbytes),
            "R": Irecv(peer=previous, request="r"),
        }
        yield Batch(ops=tuple(group[half] for half in halves))
        return
    for half in halves:
        if half == "R":
            yield Recv(peer=previous)
        elif style == "send":
            yield Send(peer=following, nbytes=nbytes)
        else:
            yield Isend(peer=following, request="s", nbytes=nbytes)
            if style == "isend-wait":
                yield Wait(requests=("s",))
    if style == "isend":
        yield Wait(requests=("s",))


def ring_table(*, ranks: int, rounds: int, ordering: Ordering, nbytes: int = 1) -> Table:
    """The table of `ring` in the style `send`, made without its operations.

    Raises ValueError where there are fewer than 2 ranks or fewer than 1 round.
    """
    import numpy as np  # slow to import, and for tables alone

    from model.semantics.arrays import NONE
    from model.semantics.table import RECV, SEND, Table

    _check_sizes(ranks, rounds, nbytes)
    if ranks * rounds > MAX_TABLE_STEPS:
        raise ValueError(f"{ranks} ranks x {rounds} rounds are more than {MAX_TABLE_STEPS} ring steps; give fewer")
    sends_first = np.frombuffer(ordering.vector(ranks).encode(), dtype=np.uint8) == ord("S")
    rank = np.repeat(np.arange(ranks, dtype=np.int64), 2 * rounds)
    index = np.tile(np.arange(2 * rounds, dtype=np.int64), ranks)
    sends = (index % 2 == 0) == sends_first[rank]
    zeros = np.zeros(len(rank), dtype=np.int64)
    return Table(
        ranks=ranks,
        rank=rank,
        index=index,
        kind=np.where(sends, SEND, RECV),
        peer=np.where(sends, rank + 1, rank - 1) % ranks,
        tag=zeros,
        nbytes=np.where(sends, nbytes, 0),
        request=zeros + NONE,
    )


def _check_sizes(ranks: int, rounds: int, nbytes: int) -> None:
    for name, value, least in (("ranks", ranks, 2), ("rounds", rounds, 1), ("nbytes", nbytes, 0)):
        check_whole(name, value, least)
