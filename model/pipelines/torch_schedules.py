"""Schedules of `torch.distributed.pipelining` as programs, without torch.

The form is the one that its `_dump_csv` writes as `compute_comms` (torch 2.13): a row a rank, a cell an action,
`2SEND_F1` being stage 2, kind SEND_F, microbatch 1; a cell `(0F1;3B0)OVERLAP_F_B` holds several. Its runtime posts
every SEND as an isend that is waited for at the end of the step, every RECV as an irecv that is waited for by
the compute that uses it, all with one tag; `program` does the same.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from model.program.checked import Program, program
from model.program.ops import Compute, Irecv, Isend, Operation, Recv, RequestId, Send, Wait

MessageStyle = Literal["runtime", "blocking"]
"""runtime: isend, waited for at the end, and irecv, waited for by its user. blocking: send and recv."""

KINDS = ("SEND_F", "RECV_F", "SEND_B", "RECV_B", "UNSHARD", "RESHARD", "REDUCE_GRAD", "F", "I", "B", "W")
COMMS = KINDS[:4]
SECONDS: Mapping[str, float] = {"F": 1, "I": 1, "W": 1, "B": 2}
"""Durations of computes in steps, a full backward being its two halves; what else a rank does takes none."""

OVERLAP = "OVERLAP_F_B"
_ACTION = re.compile(rf"([0-9]{{1,6}})({'|'.join(KINDS)})([0-9]{{0,6}})")
_OVERLAP = re.compile(rf"\((.*)\){OVERLAP}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One cell: what a rank does for a stage and a microbatch, or several (`parts`) at once."""

    stage: int = -1
    kind: str = OVERLAP
    microbatch: int | None = None
    parts: tuple[Action, ...] = ()

    def __str__(self) -> str:
        if self.parts:
            return f"({';'.join(map(str, self.parts))}){self.kind}"
        return f"{self.stage}{self.kind}{'' if self.microbatch is None else self.microbatch}"

    @property
    def leaves(self) -> tuple[Action, ...]:
        """The actions that this one is made of."""
        return self.parts or (self,)

    @property
    def seconds(self) -> float:
        return sum(SECONDS.get(leaf.kind, 0) for leaf in self.leaves)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The actions of every rank. Raises ValueError where two ranks hold one stage, or a message has one end only."""

    rows: tuple[tuple[Action, ...], ...]
    rank_of: Mapping[int, int] = field(init=False)

    def __post_init__(self) -> None:
        rank_of: dict[int, int] = {}
        for rank, row in enumerate(self.rows):
            for leaf in (leaf for action in row for leaf in action.leaves):
                if rank_of.setdefault(leaf.stage, rank) != rank:
                    raise ValueError(
                        f"stage {leaf.stage} is on rank {rank_of[leaf.stage]} and, by {leaf}, on rank {rank}; "
                        "give it to one of them"
                    )
        object.__setattr__(self, "rank_of", rank_of)
        ends = {end for row in self.rows for action in row for end in action.leaves if end.kind in COMMS}
        for end in sorted(ends, key=str):
            other = opposite(end)
            if other.stage not in rank_of:
                raise ValueError(f"{end} has no other side: no rank holds stage {other.stage}")
            if other not in ends:
                raise ValueError(f"{end} without {other}; add it, or dump the schedule as compute_comms")

    def peer(self, end: Action) -> int:
        """The rank at the other end of a SEND or RECV."""
        return self.rank_of[opposite(end).stage]


def opposite(end: Action) -> Action:
    """The other end of a SEND or RECV: activations go one stage up, gradients one stage down."""
    verb, what = end.kind.split("_")
    up = (verb == "SEND") == (what == "F")
    kind = f"{'RECV' if verb == 'SEND' else 'SEND'}_{what}"
    return Action(stage=end.stage + (1 if up else -1), kind=kind, microbatch=end.microbatch)


def action(cell: str) -> Action:
    """The action of one cell; ValueError where it is none."""
    cell = cell.strip()
    if match := _OVERLAP.fullmatch(cell):
        parts = tuple(action(part) for part in match[1].split(";"))
        if any(part.parts or part.kind not in SECONDS for part in parts):
            raise ValueError(f"action {cell!r}: only computes overlap; take the others out of the brackets")
        return Action(parts=parts)
    match = _ACTION.fullmatch(cell)
    if match is None:
        raise ValueError(f"action {cell!r} is not understood; write stage, kind and microbatch, such as 2SEND_F1")
    microbatch = int(match[3]) if match[3] else None
    if microbatch is None and (match[2] in COMMS or match[2] in SECONDS):
        raise ValueError(f"action {cell!r} names no microbatch; add its number")
    return Action(stage=int(match[1]), kind=match[2], microbatch=microbatch)


def schedule(rows: Iterable[Iterable[Any]]) -> Schedule:
    """The schedule of cells, or of torch's own action objects, which print as their cells; None is no action."""
    cells = ((str(cell) for cell in row if cell is not None) for row in rows)
    return Schedule(rows=tuple(tuple(action(cell) for cell in row if cell.strip()) for row in cells))


def from_torch(schedule_object: Any) -> Schedule:
    """The schedule of a `torch.distributed.pipelining` schedule object (of its `pipeline_order_with_comms`).

    Raises ValueError on an object without one: GPipe and 1F1B of one stage a rank never lower theirs.
    """
    lowered = getattr(schedule_object, "pipeline_order_with_comms", None)
    if not isinstance(lowered, Mapping) or sorted(lowered) != list(range(len(lowered))):
        raise ValueError(
            f"{type(schedule_object).__name__} has no pipeline_order_with_comms; give a schedule that was lowered"
        )
    return schedule(lowered[rank] for rank in range(len(lowered)))


def load(path: Path) -> Schedule:
    """The schedule of a CSV file; ValueError where it cannot be read as one, or has no communication."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            read = schedule(csv.reader(file))
    except (OSError, UnicodeError, csv.Error) as error:
        raise ValueError(f"{str(path)!r} is not a schedule: {error}") from None
    except ValueError as error:
        raise ValueError(f"{str(path)!r}: {error}") from None
    if not any(action.kind in COMMS for row in read.rows for action in row) and len(read.rows) > 1:
        raise ValueError(f"{str(path)!r} holds no SEND or RECV; dump the schedule with format='compute_comms'")
    if not read.rows:
        raise ValueError(f"{str(path)!r} is empty; give a row of actions for each rank")
    return read


def misordered(schedule: Schedule) -> Iterator[str]:
    """Where a message would be taken for another: all have one tag, so they match in order."""
    sent, taken = defaultdict[tuple[int, int], list[Action]](list), defaultdict[tuple[int, int], list[Action]](list)
    for rank, row in enumerate(schedule.rows):
        for end in (end for end in row if end.kind in COMMS):
            if end.kind.startswith("SEND"):
                sent[rank, schedule.peer(end)].append(end)
            else:
                taken[schedule.peer(end), rank].append(end)
    for (source, target), ends in sent.items():
        for number, (send, recv) in enumerate(zip(ends, taken[source, target], strict=False)):
            if opposite(send) != recv:
                yield f"message {number} from rank {source} to rank {target} is sent as {send} and received as {recv}"
                break


def program_of(schedule: Schedule, *, style: MessageStyle = "runtime", nbytes: int = 1) -> Program:
    """The operations of every rank, `nbytes` bytes a message."""
    return program(_operations(schedule, rank, style, nbytes) for rank in range(len(schedule.rows)))


def _operations(schedule: Schedule, rank: int, style: MessageStyle, nbytes: int) -> Iterator[Operation]:
    if style not in get_args(MessageStyle):
        raise ValueError(f"unknown style {style!r}; choose one of {', '.join(get_args(MessageStyle))}")
    posted: dict[Action, RequestId] = {}
    sends: list[RequestId] = []
    for item in schedule.rows[rank]:
        if item.kind in COMMS:
            peer, sending, request = schedule.peer(item), item.kind.startswith("SEND"), str(item)
            if style == "blocking":
                yield Send(peer=peer, nbytes=nbytes) if sending else Recv(peer=peer)
            elif sending:
                sends.append(request)
                yield Isend(peer=peer, nbytes=nbytes, request=request)
            else:
                posted[item] = request
                yield Irecv(peer=peer, request=request)
            continue
        for leaf in item.leaves:
            if (needed := recv_of(leaf)) in posted:
                yield Wait(requests=(posted.pop(needed),))
            yield Compute(label=str(leaf), seconds=SECONDS.get(leaf.kind, 0))
    waited = (*posted.values(), *reversed(sends))
    if waited:
        yield Wait(requests=waited)


def recv_of(compute: Action) -> Action | None:
    """The RECV that a compute uses."""
    kind = {"F": "RECV_F", "B": "RECV_B", "I": "RECV_B"}.get(compute.kind)
    return Action(stage=compute.stage, kind=kind, microbatch=compute.microbatch) if kind else None


def send_of(compute: Action) -> Action | None:
    """The SEND of what a compute makes."""
    kind = {"F": "SEND_F", "B": "SEND_B", "I": "SEND_B"}.get(compute.kind)
    return Action(stage=compute.stage, kind=kind, microbatch=compute.microbatch) if kind else None


def rows_csv(rows: Sequence[Sequence[Action]]) -> str:
    """A schedule as the CSV that `load` and torch's `_load_csv` read."""
    return "".join(",".join(map(str, row)) + "\n" for row in rows)
