"""Named programs, each a function of the number of ranks, rounds, an ordering and a style of calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, get_args

from model.program.checked import Program, program
from model.program.ops import Batch, Irecv, Isend, Operation, Recv, Send, Wait
from model.rings.orderings import Ordering, SendOrRecv

Style = Literal["send", "isend-wait", "isend", "batch"]
"""How one ring step is written: blocking calls; each isend waited for at once; the isend waited for at the
end of the step; isend and irecv posted as one group."""

STYLES: tuple[Style, ...] = get_args(Style)

MOST = 1_000_000
"""Ring steps that are written as lists of operations: beyond, they fill the memory, and a table (`table`) does not."""


def ring(*, ranks: int, rounds: int, ordering: Ordering, style: Style = "send", nbytes: int = 1) -> Program:
    """`rounds` ring steps: every rank sends to rank + 1 and receives from rank - 1, in its order.

    Raises ValueError where there are fewer than 2 ranks, fewer than 1 round or an unknown style.
    """
    _positive(ranks, "ranks", least=2)
    _positive(rounds, "rounds", least=1)
    if ranks * rounds > MOST:
        raise ValueError(
            f"{ranks} ranks x {rounds} rounds are more than {MOST} lists of operations can hold; "
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


NAMED: Mapping[str, Callable[..., Program]] = {"ring": ring}


def _positive(value: int, name: str, *, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} is {value}; give {least} or more")
