"""Fewer nodes for a picture: ranks that do alike are folded into one node with a count."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from model.verdict.result import MAX_LISTED, Blocked, Result

MAX_NODES = 24
"""Nodes that a picture has room for."""

_MAX_PERIOD = 8
_KEPT = 2
"""Ranks that are drawn on either side of a fold, or the least multiple of its period above."""

_PEER = re.compile(r"((?:send|recv|probe)\(|source=)(\d+)")

State = Literal["stuck", "finished", "unlisted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Ranks `first` to `last` in one node; one rank unless they are folded. label: the operations that they are in."""

    first: int
    last: int
    state: State
    label: str

    @property
    def folded(self) -> bool:
        return self.last > self.first

    @property
    def name(self) -> str:
        """What stands in the node."""
        return f"{self.last - self.first + 1}\nranks" if self.folded else f"rank {self.first}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """A wait-for graph for a picture. arrows: by (waiting node, awaited node), whether it belongs to the circuit."""

    nodes: tuple[Node, ...]
    arrows: Mapping[tuple[int, int], bool]


@dataclass(frozen=True, slots=True)
class _Rank:
    """One rank, or a run of ranks that stand in no list; `alike` is equal for ranks that do the same to each other."""

    first: int
    last: int
    state: State
    ops: tuple[str, ...]
    alike: Hashable
    in_circuit: bool


def fold(result: Result, ranks: int) -> Folded:
    """The wait-for graph of a result in at most about `MAX_NODES` nodes; nothing is folded where all have room."""
    members = [item.rank for item in result.circuit]
    all_of_them = _ranks(result, ranks, set(members))
    if ranks <= MAX_NODES:
        nodes = [_node(item) for item in _expanded(all_of_them)]
    else:
        nodes = _limited(list(_repeats(list(_expanded(all_of_them, at_most=3)))), set(members))
    starts = [node.first for node in nodes]
    circuit = set(zip(members, members[1:] + members[:1], strict=True))
    arrows: dict[tuple[int, int], bool] = {}
    for item in result.blocked:
        for peer in item.waits_for:
            ends = bisect_right(starts, item.rank) - 1, bisect_right(starts, peer) - 1
            if ends[0] != ends[1] or not nodes[ends[0]].folded:
                arrows[ends] = arrows.get(ends, False) or (item.rank, peer) in circuit
    return Folded(nodes=tuple(nodes), arrows=arrows)


def _ranks(result: Result, ranks: int, members: set[int]) -> list[_Rank]:
    """Every rank in order; ranks between those that are listed stand together."""
    rows: list[_Rank] = []
    rest: State = "unlisted" if len(result.blocked) >= MAX_LISTED else "finished"

    def gap(until: int) -> None:
        first = rows[-1].last + 1 if rows else 0
        if first < until:
            rows.append(_Rank(first, until - 1, rest, (), rest, False))

    for rank, items in groupby(sorted(result.blocked, key=lambda item: item.rank), key=lambda item: item.rank):
        gap(rank)
        stuck = list(items)
        alike = (rank in members, *((_relative(item.op, rank, ranks), _distances(item, ranks)) for item in stuck))
        rows.append(_Rank(rank, rank, "stuck", tuple(item.op for item in stuck), alike, rank in members))
    gap(ranks)
    return rows


def _relative(op: str, rank: int, ranks: int) -> str:
    """The operation with its peers counted from its rank: `send(rank+1)`."""

    def counted(match: re.Match[str]) -> str:
        distance = (int(match[2]) - rank) % ranks
        if distance == 0:
            return f"{match[1]}rank"
        return f"{match[1]}rank{f'+{distance}' if 2 * distance <= ranks else f'-{ranks - distance}'}"

    return _PEER.sub(counted, op)


def _distances(item: Blocked, ranks: int) -> tuple[int, ...]:
    return tuple(sorted((peer - item.rank) % ranks for peer in item.waits_for))


def _expanded(items: Sequence[_Rank], at_most: int = MAX_NODES) -> Iterator[_Rank]:
    """Short runs rank by rank, long ones as they are."""
    for item in items:
        if item.last - item.first < at_most:
            for rank in range(item.first, item.last + 1):
                yield _Rank(rank, rank, item.state, item.ops, item.alike, item.in_circuit)
        else:
            yield item


def _repeats(items: Sequence[_Rank]) -> Iterator[Node]:
    """Nodes, with the middle of whatever repeats folded."""
    at = 0
    while at < len(items):
        runs = (_run(items, at, period) for period in range(1, _MAX_PERIOD + 1))
        hidden, period, length = max(runs, key=lambda run: (run[0], -run[1]))
        if hidden < 3:
            yield _node(items[at])
            at += 1
            continue
        kept = period * -(-_KEPT // period)
        yield from map(_node, items[at : at + kept])
        middle = items[at + kept : at + length - kept]
        each = dict.fromkeys(op for item in middle[:period] for op in _relatives(item))
        yield Node(
            first=middle[0].first, last=middle[-1].last, state=middle[0].state, label=f"each in {' or '.join(each)}"
        )
        yield from map(_node, items[at + length - kept : at + length])
        at += length


def _relatives(item: _Rank) -> Iterator[str]:
    assert isinstance(item.alike, tuple), "only stuck ranks repeat; others stand together already"
    yield "; ".join(op for op, _ in item.alike[1:])


def _run(items: Sequence[_Rank], at: int, period: int) -> tuple[int, int, int]:
    """(items that a fold would hide, the period, items in all) of what repeats from here on with a period."""
    end = at + 1
    while end < len(items) and (end - at < period or items[end].alike == items[end - period].alike):
        if items[end].state != "stuck" or items[at].state != "stuck":
            break
        end += 1
    length = (end - at) // period * period
    return length - 2 * period * -(-_KEPT // period), period, length


def _node(item: _Rank) -> Node:
    return Node(first=item.first, last=item.last, state=item.state, label="\n".join(dict.fromkeys(item.ops)))


def _limited(nodes: list[Node], members: set[int]) -> list[Node]:
    """At most about MAX_NODES: those of the circuit are kept first, what lies between the kept ones is put together."""
    if len(nodes) <= MAX_NODES:
        return nodes
    first_of_all = sorted(range(len(nodes)), key=lambda at: (nodes[at].first not in members, at))
    kept = set(first_of_all[: MAX_NODES // 2])
    out: list[Node] = []
    for keep, places in groupby(range(len(nodes)), key=lambda at: at in kept):
        part = [nodes[at] for at in places]
        if keep or len(part) == 1:
            out += part
            continue
        stuck = sum(node.last - node.first + 1 for node in part if node.state == "stuck")
        count = part[-1].last - part[0].first + 1
        states = {node.state for node in part}
        label = f"{stuck} of {count} stuck" if stuck < count else "all stuck, in other operations"
        out.append(
            Node(
                first=part[0].first,
                last=part[-1].last,
                state="stuck" if "stuck" in states else part[0].state,
                label=label,
            )
        )
    return out
