"""The shortest circuit of who waits for whom. Plain Python, for whoever has no program at hand: a watchdog, a trace."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping


def shortest_circuit(waits: Mapping[int, Iterable[int]]) -> tuple[int, ...]:
    """A shortest circuit, as nodes of which each waits for the next and the last for the first; () if there is none.

    waits: by node, those that it waits for; one that is no key waits for nobody. Of several shortest circuits it is the
    one through the least node, which comes first.
    """
    shortest: tuple[int, ...] = ()
    for start in sorted(waits):
        circuit = _circuit_through(start, waits)
        if circuit and (not shortest or len(circuit) < len(shortest)):
            shortest = circuit
    return shortest


def _circuit_through(start: int, waits: Mapping[int, Iterable[int]]) -> tuple[int, ...]:
    """Breadth first, so the first way back to the start is a shortest one."""
    before: dict[int, int] = {}  # by node, the one from which it was reached first
    queue = deque([start])
    while queue:
        node = queue.popleft()
        for other in waits.get(node, ()):
            if other == start:
                path = [node]
                while path[-1] != start:
                    path.append(before[path[-1]])
                return tuple(reversed(path))
            if other not in before:
                before[other] = node
                queue.append(other)
    return ()
