"""A discrete-event simulation of a program with durations: what every rank does when.

It steps through time with a heap of events, where the event graph takes longest paths; on the same input both
give every instruction the same times, to the last tick. What things take is told in `timing`. It is a second opinion
on purpose: of the core it reads the columns, which messages match, and which receive frees a slot of a buffer; it says
for itself, as it goes, what an instruction waits for, and knows nothing of `guards`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.display.shown import Shown
from model.events.event_graph import NEVER
from model.events.simulator_kernels import UNANSWERED, Code, Ends, Queues, Times, run_events
from model.events.timing import UNIT, Timing
from model.semantics.arrays import NONE, Ints
from model.semantics.buffer_slots import freeing_receives
from model.semantics.columns import Columns
from model.semantics.matching import partners, probed_sends


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation(Shown):
    """What happened, in ticks; NEVER for what did not. arrived, passed: by instruction. posted: by message.

    events: how many were simulated: an arrival and a passing of every instruction, a post of every message.
    """

    columns: Columns
    arrived: Ints
    passed: Ints
    posted: Ints
    events: int

    @property
    def hangs(self) -> bool:
        """Whether some thread does not come to its end."""
        return bool((self.passed == NEVER).any())

    @property
    def makespan(self) -> int | None:
        """Ticks until the last rank is at its end; None where it hangs."""
        return None if self.hangs else int(self.passed.max(initial=0))

    def _lines(self) -> Iterator[str]:
        if self.hangs:
            yield f"it hangs, after {self.events} events"
        else:
            yield f"makespan: {self.makespan} ticks, {self.events} events"

    def _table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        columns = self.columns
        times = ([None if time == NEVER else time for time in found.tolist()] for found in (self.arrived, self.passed))
        rows = zip(columns.rank_of[columns.thread_of()].tolist(), columns.index.tolist(), *times, strict=True)
        return ("rank", "index", "arrived", "passed"), list(rows)


def simulate(columns: Columns, timing: Timing = UNIT) -> Simulation:
    """Run a program, every rank as fast as its library lets it.

    Raises ValueError where a probe passes by any of several sends.
    """
    partner = partners(columns)
    slot, _ = freeing_receives(columns, partner)
    wires = np.zeros(len(columns.at), dtype=np.int64)
    wires[columns.sends] = timing.wire(columns.nbytes[columns.sends])
    met = partner != NONE
    wires[~columns.sends & met] = wires[partner[~columns.sends & met]]
    ends = Ends(columns.sends, columns.blocking, columns.early, partner, slot, wires, timing.spacing(columns.nbytes))
    threads, instructions, messages = len(columns.rank_of), len(columns.index), len(columns.at)
    times = Times(
        np.full(instructions, NEVER, dtype=np.int64),
        np.full(instructions, NEVER, dtype=np.int64),
        np.full(messages, NEVER, dtype=np.int64),
        np.zeros(threads, dtype=np.int64),
    )
    queues = Queues(
        np.full(messages + 2 * instructions, NONE, dtype=np.int64),
        np.full(threads, NONE, dtype=np.int64),
        np.full(threads, NONE, dtype=np.int64),
        np.arange(threads - 1, -1, -1),
    )
    events = run_events(_code(columns, timing), ends, times, queues, timing.overhead, timing.latency)
    return Simulation(
        columns=columns, arrived=times.arrived, passed=times.passed, posted=times.posted, events=int(events)
    )


def _code(columns: Columns, timing: Timing) -> Code:
    count = len(columns.index)
    posts = np.full(count, NONE, dtype=np.int64)
    posts[columns.at] = np.arange(len(columns.at))
    probes = np.full(count, NONE, dtype=np.int64)
    for probe, send, _ in probed_sends(columns):
        if probes[probe] != NONE:
            raise ValueError("a wildcard probe passes by any of several sends: no one simulation says when")
        probes[probe] = UNANSWERED if send == NONE else send
    absent = np.zeros(count, dtype=np.bool_)
    absent[columns.absent[:, 0]] = True
    return Code(
        columns.starts,
        columns.after,
        timing.ticks(columns.seconds),
        posts,
        probes,
        absent,
        *_grouped(columns.awaits, count),
        *_grouped(np.concatenate((columns.meets, columns.connects)), count),
    )


def _grouped(pairs: Ints, count: int) -> tuple[Ints, Ints]:
    """(starts, values): the second column of the pairs, by the first."""
    order = np.argsort(pairs[:, 0], kind="stable")
    starts = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.bincount(pairs[:, 0], minlength=count), out=starts[1:])
    return starts, pairs[order, 1]
