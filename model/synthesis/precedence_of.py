"""The precedence of a program, and of a pipeline schedule: what no reordering of the communication may change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, zip_longest

from model.pipelines.torch_schedules import COMMS, SECONDS, Action, Schedule, opposite, recv_of, send_of
from model.program.checked import Program, parts
from model.program.ops import (
    ANY,
    NULL,
    Barrier,
    Compute,
    Irecv,
    Isend,
    Operation,
    Probe,
    Recv,
    RequestId,
    Send,
    Sendrecv,
    Wait,
)
from model.synthesis.precedence import TRANSFER, Precedence, Task

Channel = tuple[str, int, int, int]
"""Of messages that keep their order: communicator, source, destination, tag."""


def of_program(program: Program) -> Precedence:
    """The order that a program cannot do without, its own order of communication left open.

    Computes and barriers keep their order. A receive comes before the compute that follows it (or its wait), a
    send after the compute that precedes it; so a send that forwards what was received needs a compute between.
    Messages of one channel and tag keep their order. isend, irecv, sendrecv and batch count as their messages.

    Raises ValueError on a wildcard receive, a probe, a message to oneself, and one whose other end is missing.
    """
    collected = _Collected(len(program))
    for rank, ops in enumerate(program):
        for op in ops:
            collected.add(rank, op)
    return collected.precedence()


@dataclass(slots=True, kw_only=True)
class _End:
    """One end of a message: its rank, and how many computes of the rank come before it (or before its wait)."""

    rank: int
    after: int
    op: Send | Recv


class _Collected:
    """Tasks of a program so far; `fixed`: of each rank its computes and barriers, in order."""

    def __init__(self, ranks: int) -> None:
        self.tasks: list[Task] = []
        self.fixed: list[list[int]] = [[] for _ in range(ranks)]
        self._barriers: list[int] = []
        self._passed = [0] * ranks  # barriers of each rank
        self._open: list[dict[RequestId, _End]] = [{} for _ in range(ranks)]  # irecvs before their wait
        self._sends: defaultdict[Channel, list[_End]] = defaultdict(list)
        self._recvs: defaultdict[Channel, list[_End]] = defaultdict(list)

    def add(self, rank: int, op: Operation) -> None:
        """The next operation of a rank."""
        mine = self.fixed[rank]
        if isinstance(op, Compute):
            mine.append(len(self.tasks))
            self.tasks.append(Task(label=f"rank {rank}: {op.label or 'compute'}", ops={rank: op}, seconds=op.seconds))
        elif isinstance(op, Barrier):
            mine.append(self._barrier(self._passed[rank], op))
            self._passed[rank] += 1
        elif isinstance(op, Wait):
            for request in op.requests:
                if request in self._open[rank]:
                    self._open[rank].pop(request).after = len(mine)
        else:
            for part in parts(op):
                for message in _messages(part, rank):
                    self._message(rank, part, message)

    def _barrier(self, number: int, op: Barrier) -> int:
        """The task of the ranks' barriers of this number."""
        if number == len(self._barriers):
            self._barriers.append(len(self.tasks))
            every = dict.fromkeys(range(len(self.fixed)), op)
            self.tasks.append(Task(label=f"barrier {number}", ops=every, seconds=0))
        return self._barriers[number]

    def _message(self, rank: int, op: Operation, message: Send | Recv) -> None:
        end = _End(rank=rank, after=len(self.fixed[rank]), op=message)
        if isinstance(message, Send):
            self._sends[message.comm, rank, message.peer, message.tag].append(end)
        else:
            self._recvs[message.comm, message.peer, rank, message.tag].append(end)
        if isinstance(op, Irecv):
            self._open[rank][op.request] = end

    def precedence(self) -> Precedence:
        """Of all operations. Raises ValueError where a message has one end only."""
        arcs = {arc for mine in self.fixed for arc in pairwise(mine)}
        for channel in dict.fromkeys([*self._sends, *self._recvs]):
            transfers = []
            for send, recv in zip_longest(self._sends[channel], self._recvs[channel]):
                if send is None or recv is None:
                    lone = send or recv
                    raise ValueError(
                        f"rank {lone.rank}, {lone.op!s}: the other end is missing; add it, or drop this one"
                    )
                transfers.append(number := len(self.tasks))
                tag = f", tag {channel[3]}" if channel[3] else ""
                label = f"{send.rank} -> {recv.rank}{tag}"
                self.tasks.append(Task(label=label, ops={send.rank: send.op, recv.rank: recv.op}, seconds=TRANSFER))
                arcs.update((before, number) for before in self.fixed[send.rank][: send.after][-1:])
                arcs.update((number, after) for after in self.fixed[recv.rank][recv.after :][:1])
            arcs.update(pairwise(transfers))
        return Precedence(ranks=len(self.fixed), tasks=tuple(self.tasks), arcs=frozenset(arcs))


def _messages(op: Operation, rank: int) -> Iterator[Send | Recv]:
    """The messages of an operation as blocking calls."""
    if isinstance(op, Send | Isend | Sendrecv) and op.peer != NULL:
        mode = "standard" if isinstance(op, Sendrecv) else op.mode
        yield Send(peer=op.peer, tag=op.tag, nbytes=op.nbytes, comm=op.comm, mode=mode)
    if isinstance(op, Recv | Irecv | Sendrecv):
        peer, tag = (op.source, op.source_tag) if isinstance(op, Sendrecv) else (op.peer, op.tag)
        if ANY in (peer, tag):
            raise ValueError(f"rank {rank}, {op!s}: a wildcard cannot be ordered; name the peer and the tag")
        if peer != NULL:
            yield Recv(peer=peer, tag=tag, comm=op.comm)
    if isinstance(op, Probe):
        raise ValueError(f"rank {rank}, {op!s}: a probe cannot be ordered; take it out")


def of_schedule(schedule: Schedule) -> Precedence:
    """What every order of the communication must respect: computes keep theirs, a RECV comes before the compute
    that uses it, a SEND after the one that makes it. A RECV or SEND without its compute (an excerpt) is free.
    """
    tasks: list[Task] = []
    arcs: set[tuple[int, int]] = set()
    makes: dict[Action | None, int] = {}
    uses: dict[Action | None, int] = {}
    for rank, row in enumerate(schedule.rows):
        first = len(tasks)
        for compute in (leaf for action in row if action.kind not in COMMS for leaf in action.leaves):
            uses[recv_of(compute)] = makes[send_of(compute)] = len(tasks)
            op = Compute(label=str(compute), seconds=SECONDS.get(compute.kind, 0))
            tasks.append(Task(label=op.label, ops={rank: op}, seconds=op.seconds))
        arcs.update(pairwise(range(first, len(tasks))))
    for rank, row in enumerate(schedule.rows):
        for send in (action for action in row if action.kind.startswith("SEND")):
            number, recv = len(tasks), opposite(send)
            peer = schedule.rank_of[recv.stage]
            ops: dict[int, Operation] = {rank: Send(peer=peer), peer: Recv(peer=rank)}
            tasks.append(Task(label=f"{send} -> {recv}", ops=ops, seconds=TRANSFER))
            if send in makes:
                arcs.add((makes[send], number))
            if recv in uses:
                arcs.add((number, uses[recv]))
    return Precedence(ranks=len(schedule.rows), tasks=tuple(tasks), arcs=frozenset(arcs))
