"""What must come before what, whichever order the ranks choose: the part of a program that may not be reordered.

Under rendezvous the two ends of a message are one event of both ranks. So a choice of an order for every rank is
deadlock-free iff those orders and the fixed arcs have a common topological order, and one exists iff the fixed
arcs alone have no circuit: deciding whether *any* reordering exists takes linear time (statement 9; the search
over all orders in the tests agrees).
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import networkx as nx

from model.program.ops import Operation

TRANSFER = 1.0
"""Time of a transfer: one step."""


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
        circuit = min((nx.shortest_path(smallest, after, before) for before, after in smallest.edges), key=len)
        start = circuit.index(min(circuit))
        return tuple(self.tasks[number] for number in circuit[start:] + circuit[:start])

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
