"""Communication patterns: who sends to whom, before anyone has said in which order.

A pattern is a directed multigraph on the ranks, one arc a message. `orders` puts it in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from model.program.decoding import convert, decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One message of `nbytes` bytes from rank `source` to rank `target`."""

    source: int
    target: int
    tag: int = 0
    nbytes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """The transfers of one round. Raises ValueError on a rank that is not there, or a message to oneself."""

    ranks: int
    transfers: tuple[Transfer, ...]

    def __post_init__(self) -> None:
        if self.ranks < 1:
            raise ValueError(f"ranks is {self.ranks}; give 1 or more")
        for transfer in self.transfers:
            for rank in (transfer.source, transfer.target):
                if not 0 <= rank < self.ranks:
                    raise ValueError(f"there is no rank {rank} in {transfer}; ranks are 0 to {self.ranks - 1}")
            if transfer.source == transfer.target:
                raise ValueError(f"{transfer} goes to its own sender; under rendezvous no order lets it pass")
            if transfer.tag < 0 or transfer.nbytes < 0:
                raise ValueError(f"tag and nbytes of {transfer} must be 0 or more")

    def repeated(self, rounds: int) -> Pattern:
        """Every transfer `rounds` times; ValueError below 1."""
        if rounds < 1:
            raise ValueError(f"rounds is {rounds}; give 1 or more")
        return Pattern(ranks=self.ranks, transfers=self.transfers * rounds)


def ring(ranks: int) -> Pattern:
    """Every rank sends to its successor."""
    _least(ranks, "ranks", 2)
    return _pattern(ranks, ((rank, (rank + 1) % ranks) for rank in range(ranks)))


def bidirectional(ranks: int) -> Pattern:
    """Every rank sends to its successor and to its predecessor."""
    _least(ranks, "ranks", 2)
    both = ((rank, (rank + step) % ranks) for step in (1, -1) for rank in range(ranks))
    return _pattern(ranks, both)


def chain(ranks: int) -> Pattern:
    """Every rank but the last sends to its successor."""
    _least(ranks, "ranks", 2)
    return _pattern(ranks, ((rank, rank + 1) for rank in range(ranks - 1)))


def torus(rows: int, columns: int) -> Pattern:
    """Every rank of a grid with wrapped edges sends to its right and to its lower neighbour, rows first."""
    _grid(rows, columns)
    right = ((row, column, row, (column + 1) % columns) for row in range(rows) for column in range(columns))
    down = ((row, column, (row + 1) % rows, column) for row in range(rows) for column in range(columns))
    return _pattern(
        rows * columns, ((a * columns + b, c * columns + d) for half in (right, down) for a, b, c, d in half)
    )


def stages(pp: int, tp: int) -> Pattern:
    """TP x PP: each rank sends its slice to its peer of the next stage, the last stage to the first, and a slice
    to every rank of its own stage. Rank = stage * tp + slice.
    """
    _grid(pp, tp)
    arcs = [(stage * tp + part, (stage + 1) % pp * tp + part) for stage, part in _cells(pp, tp)]
    for step in range(1, tp):
        arcs += [(stage * tp + part, stage * tp + (part + step) % tp) for stage, part in _cells(pp, tp)]
    return _pattern(pp * tp, arcs)


LINES: Mapping[str, Callable[[int], Pattern]] = {"ring": ring, "bidirectional": bidirectional, "chain": chain}
"""Patterns of a number of ranks."""

GRIDS: Mapping[str, Callable[[int, int], Pattern]] = {"torus": torus, "stages": stages}
"""Patterns of two numbers: rows and columns, or stages and slices."""


class _Transfer(Struct, forbid_unknown_fields=True):
    source: int
    target: int
    tag: int = 0
    nbytes: int = 1


class _Data(Struct, forbid_unknown_fields=True):
    """Of a file: `{"ranks": 3, "transfers": [{"source": 0, "target": 1}, [1, 2], ...]}`."""

    ranks: int
    transfers: list[tuple[int, int] | _Transfer]


def from_json(data: Any) -> Pattern:
    """The pattern of decoded JSON, its transfers as objects or as pairs; ValueError on anything else."""
    read = convert(data, _Data)
    transfers = (_Transfer(*item) if isinstance(item, tuple) else item for item in read.transfers)
    return Pattern(ranks=read.ranks, transfers=tuple(Transfer(**structs.asdict(item)) for item in transfers))


def load(path: Path) -> Pattern:
    """The pattern of a JSON file; ValueError where it cannot be read as one."""
    try:
        return from_json(decode(path.read_bytes(), dict[str, Any]))
    except (OSError, ValueError) as error:
        form = '{"ranks": 3, "transfers": [[0, 1], {"source": 1, "target": 2, "nbytes": 8}]}'
        raise ValueError(f"{str(path)!r} is not a pattern: {error}; give {form}") from None


def _pattern(ranks: int, arcs: Iterable[tuple[int, int]]) -> Pattern:
    """The transfers of these arcs; on a side of length 1 a neighbour is oneself, and there is nothing to send."""
    transfers = (Transfer(source=source, target=target) for source, target in arcs if source != target)
    return Pattern(ranks=ranks, transfers=tuple(transfers))


def _cells(rows: int, columns: int) -> Iterator[tuple[int, int]]:
    return product(range(rows), range(columns))


def _grid(rows: int, columns: int) -> None:
    _least(min(rows, columns), "the smaller side", 1)
    _least(rows * columns, "the number of ranks", 2)


def _least(value: int, name: str, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} is {value}; give {least} or more")
