"""What must come before what, whichever order the ranks choose: the part of a program that may not be reordered.

Under rendezvous the two ends of a message are one event of both ranks. So a choice of an order for every rank is
deadlock-free iff those orders and the fixed arcs have a common topological order, and one exists iff the fixed
arcs alone have no circuit: deciding whether *any* reordering exists takes linear time (statement 9; the search
over all orders in the tests agrees).
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest

import networkx as nx

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A compute of one rank, or a transfer of two: what each of its ranks does, and how long all of them take."""

    label: str
    ops: Mapping[int, Operation]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Precedence:
    """Tasks, and arcs (before, after) between their numbers that every order must respect."""

    ranks: int
    tasks: tuple[Task, ...]
    arcs: frozenset[tuple[int, int]]

    def circuit(self) -> tuple[Task, ...]:
        """The tasks of a shortest circuit of arcs, each before the next and the last before the first; else ()."""
        graph = self.graph()
        if nx.is_directed_acyclic_graph(graph):
            return ()
        closed = (part for part in nx.strongly_connected_components(graph) if len(part) > 1)
        smallest = graph.subgraph(min(closed, key=len))
        found = min((nx.shortest_path(smallest, after, before) for before, after in smallest.edges), key=len)
        start = found.index(min(found))
        return tuple(self.tasks[number] for number in found[start:] + found[:start])

    def graph(self) -> nx.DiGraph[int]:
        graph: nx.DiGraph[int] = nx.DiGraph()
        graph.add_nodes_from(range(len(self.tasks)))
        graph.add_edges_from(self.arcs)
        return graph

    def tails(self) -> list[float]:
        """For every task the time from its start to the end of the longest chain of arcs that it begins."""
        graph = self.graph()
        tails = [task.seconds for task in self.tasks]
        for number in reversed(list(nx.topological_sort(graph))):
            after = (tails[other] for other in graph.successors(number))
            tails[number] = self.tasks[number].seconds + max(after, default=0)
        return tails

    def lower_bound(self) -> tuple[float, str]:
        """A makespan that no order beats, and why: the longest chain of arcs, or the work of the busiest rank."""
        load: defaultdict[int, float] = defaultdict(float)
        for task in self.tasks:
            for rank in task.ops:
                load[rank] += task.seconds
        longest, busiest = max(self.tails(), default=0), max(load.values(), default=0)
        return (longest, "critical path") if longest >= busiest else (busiest, "busiest rank")

    def starts(self, priority: Sequence[float]) -> list[float]:
        """List scheduling: whenever ranks are idle, the ready task of the highest priority starts."""
        waiting = [0] * len(self.tasks)
        after: defaultdict[int, list[int]] = defaultdict(list)
        for earlier, later in self.arcs:
            waiting[later] += 1
            after[earlier].append(later)
        ready = {number for number, left in enumerate(waiting) if left == 0}
        busy: set[int] = set()
        starts = [0.0] * len(self.tasks)
        running: list[tuple[float, int]] = []
        now = 0.0
        while ready or running:
            for number in sorted(ready, key=lambda number: (-priority[number], number)):
                if busy.isdisjoint(self.tasks[number].ops):
                    busy.update(self.tasks[number].ops)
                    ready.discard(number)
                    starts[number] = now
                    heapq.heappush(running, (now + self.tasks[number].seconds, number))
            now = running[0][0]
            while running and running[0][0] == now:
                _, number = heapq.heappop(running)
                busy.difference_update(self.tasks[number].ops)
                for later in after[number]:
                    waiting[later] -= 1
                    if waiting[later] == 0:
                        ready.add(later)
        return starts


def of_program(program: Program) -> Precedence:
    """The order that a program cannot do without, its own order of communication left open.

    Computes and barriers keep their order. A receive comes before the compute that follows it (or its wait), a
    send after the compute that precedes it; so a send that forwards what was received needs a compute between.
    Messages of one channel and tag keep their order. isend, irecv, sendrecv and batch count as their messages.

    Raises ValueError on a wildcard receive, a probe, a message to oneself, and one whose other end is missing.
    """
    tasks: list[Task] = []
    fixed: list[list[int]] = [[] for _ in program]
    sends: defaultdict[Channel, list[_End]] = defaultdict(list)
    recvs: defaultdict[Channel, list[_End]] = defaultdict(list)
    everywhere: list[int] = []
    for rank, ops in enumerate(program):
        mine, open_recvs, barriers = fixed[rank], dict[RequestId, _End](), 0
        for op in ops:
            if isinstance(op, Compute):
                mine.append(len(tasks))
                tasks.append(Task(label=f"rank {rank}: {op.label or 'compute'}", ops={rank: op}, seconds=op.seconds))
            elif isinstance(op, Barrier):
                if barriers == len(everywhere):
                    everywhere.append(len(tasks))
                    every = dict.fromkeys(range(len(program)), op)
                    tasks.append(Task(label=f"barrier {barriers}", ops=every, seconds=0))
                mine.append(everywhere[barriers])
                barriers += 1
            elif isinstance(op, Wait):
                for request in op.requests:
                    if request in open_recvs:
                        open_recvs.pop(request).after = len(mine)
            else:
                for part in parts(op):
                    for message in _messages(part, rank):
                        end = _End(rank=rank, after=len(mine), op=message)
                        if isinstance(message, Send):
                            sends[message.comm, rank, message.peer, message.tag].append(end)
                        else:
                            recvs[message.comm, message.peer, rank, message.tag].append(end)
                        if isinstance(op, Irecv):
                            open_recvs[op.request] = end
    arcs = {arc for mine in fixed for arc in pairwise(mine)}
    for channel in dict.fromkeys([*sends, *recvs]):
        transfers = []
        for send, recv in zip_longest(sends[channel], recvs[channel]):
            if send is None or recv is None:
                lone = send or recv
                raise ValueError(f"rank {lone.rank}, {lone.op!s}: the other end is missing; add it, or drop this one")
            number = len(tasks)
            transfers.append(number)
            tag = f", tag {channel[3]}" if channel[3] else ""
            label = f"{send.rank} -> {recv.rank}{tag}"
            tasks.append(Task(label=label, ops={send.rank: send.op, recv.rank: recv.op}, seconds=TRANSFER))
            arcs.update((before, number) for before in fixed[send.rank][: send.after][-1:])
            arcs.update((number, after) for after in fixed[recv.rank][recv.after :][:1])
        arcs.update(pairwise(transfers))
    return Precedence(ranks=len(program), tasks=tuple(tasks), arcs=frozenset(arcs))


Channel = tuple[str, int, int, int]

TRANSFER = 1.0
"""Time of a transfer: one step."""


@dataclass(slots=True, kw_only=True)
class _End:
    """One end of a message: its rank, and how many computes of the rank come before it (or before its wait)."""

    rank: int
    after: int
    op: Send | Recv


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
