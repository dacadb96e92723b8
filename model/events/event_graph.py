"""The event graph (theory, "Frame"): one object that decides liveness, makespan and period.

A timed marked graph: an arc says that its head happens no sooner than its weight after its tail, `tokens`
rounds earlier. Without tokens it is one run. It is live iff every circuit carries a token (Commoner, Holt,
Even, Pnueli 1971), its makespan is the longest path of arcs without tokens, and its period, when what it
describes is repeated for ever, the maximum cycle ratio.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from model.events.cycle_ratio import Critical, maximum_cycle_ratio
from model.events.shortest_circuit import grouped_by
from model.semantics.arrays import Ints

NEVER = -1
"""The time of an event that does not happen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventGraph:
    """Events 0 to `events` - 1, and arcs as columns of equal length.

    weights: ticks, 0 or more. tokens: rounds, 0 inside a round. costs: how much an arc counts in the length
    of a circuit, 0 or 1. missing: events that wait for something that no event brings.
    """

    events: int
    tails: Ints
    heads: Ints
    weights: Ints
    tokens: Ints
    costs: Ints
    missing: Ints

    def run(self) -> Ints:
        """The time in ticks of every event of one round, each as early as possible; NEVER for those that cannot be."""
        inside = self.tokens == 0
        starts, order = grouped_by(self.tails[inside], self.events)
        heads, weights = self.heads[inside][order], self.weights[inside][order]
        times: Ints = _run(starts, heads, weights, self.missing)
        return times

    def critical(self) -> Critical | None:
        """A circuit of greatest weight per token: the period when repeated for ever. None without a circuit."""
        return maximum_cycle_ratio(self.events, self.tails, self.heads, self.weights, self.tokens)

    def chain(self, times: Ints, event: int) -> tuple[int, ...]:
        """Arcs from an event that does not happen back to one of `missing`, nearest first; empty at such an event."""
        missing = set(self.missing.tolist())
        arcs = np.flatnonzero((self.tokens == 0) & (times[self.tails] == NEVER))
        starts, order = grouped_by(self.heads[arcs], self.events)
        parents: dict[int, int] = {event: -1}
        queue = [event]
        for at in queue:
            if at in missing:
                path = []
                while parents[at] >= 0:
                    path.append(parents[at])
                    at = int(self.heads[parents[at]])
                return tuple(reversed(path))
            for arc in arcs[order[starts[at] : starts[at + 1]]].tolist():
                before = int(self.tails[arc])
                if before not in parents:
                    parents[before] = arc
                    queue.append(before)
        return ()


@numba.njit(cache=True)
def _run(starts: Ints, heads: Ints, weights: Ints, missing: Ints) -> Ints:
    """Fires every event once all that it waits for have fired (Kahn 1962), with the longest path to it."""
    count = len(starts) - 1
    waits = np.zeros(count, dtype=np.int64)
    for arc in range(len(heads)):
        waits[heads[arc]] += 1
    for event in missing:
        waits[event] += 1
    times = np.zeros(count, dtype=np.int64)
    queue = np.empty(count, dtype=np.int64)
    filled = 0
    for event in range(count):
        if waits[event] == 0:
            queue[filled] = event
            filled += 1
    done = 0
    while done < filled:
        event = queue[done]
        done += 1
        for arc in range(starts[event], starts[event + 1]):
            head = heads[arc]
            times[head] = max(times[head], times[event] + weights[arc])
            waits[head] -= 1
            if waits[head] == 0:
                queue[filled] = head
                filled += 1
    for event in range(count):
        if waits[event] > 0:
            times[event] = NEVER
    return times
