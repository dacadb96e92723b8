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
from graphlib import CycleError, TopologicalSorter

from model.program.ops import Operation
from model.verdict.circuit import shortest_circuit

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
        try:
            TopologicalSorter(self._before()).prepare()
        except CycleError:
            after: dict[int, list[int]] = defaultdict(list)
            for first, second in sorted(self.arcs):
                after[first].append(second)
            return tuple(self.tasks[number] for number in shortest_circuit(after))
        return ()

    def order(self, keys: Sequence[float]) -> list[int]:
        """The tasks in an order that respects the arcs; of those that may come next the one of the least key does."""
        sorter = TopologicalSorter(self._before())
        sorter.prepare()
        order, ready = [], [(keys[number], number) for number in sorter.get_ready()]
        heapq.heapify(ready)
        while ready:
            _, number = heapq.heappop(ready)
            order.append(number)
            sorter.done(number)
            for free in sorter.get_ready():
                heapq.heappush(ready, (keys[free], free))
        return order

    def _before(self) -> dict[int, list[int]]:
        """By task, those that stand before it in an arc."""
        before: dict[int, list[int]] = {number: [] for number in range(len(self.tasks))}
        for first, second in self.arcs:
            before[second].append(first)
        return before

    def tails(self) -> list[float]:
        """For every task the time from its start to the end of the longest chain of arcs that it begins."""
        longest = [0.0] * len(self.tasks)  # of the chains that follow a task
        tails = [task.seconds for task in self.tasks]
        before = self._before()
        for number in reversed(list(TopologicalSorter(before).static_order())):
            tails[number] += longest[number]
            for first in before[number]:
                longest[first] = max(longest[first], tails[number])
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
