"""How long a whole run of the pipeline should take, by the event graph, from stage and hop times measured apart.

The program is the serving loop's own, unrolled, with the measured seconds in it. `ideal`: every stage has a device to
itself. `shared`: one device computes for one stage at a time, and goes from forward to forward in the order in which
the ideal run starts them: it is a token that the stages hand on, in messages that take no time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from model.events.simulator import Simulation, simulate
from model.events.timing import TICK, Timing
from model.pipelines.serving import CONTROL, DATA, OUTPUT, PROXY, REQUESTS, unroll
from model.program.checked import Program, program
from model.program.ops import Compute, Isend, Operation, Recv, Send
from model.rings.orderings import ordering
from model.semantics.columns import columns_of
from model.semantics.libraries import semantics
from model.semantics.lowering import lower
from model.semantics.parameters import Semantics

CARD = "card"
"""Communicator of the token, whose messages have no bytes and take no time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """A message of so many bytes, and the seconds that it was measured to take."""

    nbytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """What was measured. prefill, decode: seconds by stage, of one microbatch. Hops of a proxy of a prefill and of a
    decode step, of an output, and of the message that no request arrived."""

    prefill: tuple[float, ...]
    decode: tuple[float, ...]
    prefill_hop: Hop
    decode_hop: Hop
    output_hop: Hop
    requests_hop: Hop


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(Timing):
    """Messages take what those of their size were measured to take. points: (bytes, ticks), by bytes."""

    points: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        """Medians of a clock's differences need no check."""

    def wire(self, nbytes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Ticks from start to arrival; between two measured sizes in proportion."""
        sizes, ticks = zip(*self.points, strict=True)
        return np.rint(np.interp(nbytes, sizes, ticks)).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Seconds from the arrival of the requests to the last token. compute: of all forwards together."""

    ideal: float
    shared: float
    compute: float


def predict(times: Times, *, steps: int, policy: str, data: str, control: str = "gloo") -> Prediction:
    """A run in which every one of P microbatches is prefilled once and decoded until it has `steps` tokens.

    policy: name of the ordering. data, control: names of the semantics of tensor messages and of requests.
    """
    ranks, timing = len(times.prefill), _timing(times)
    apart = program(
        _timed(ops, times, rank)
        for rank, ops in enumerate(
            unroll(ranks=ranks, depth=0, ordering=ordering(policy, ranks), present=[True] * (ranks * steps))
        )
    )
    world = {CONTROL: semantics(control), DATA: semantics(data), CARD: semantics("bsend")}
    ideal = _simulated(apart, world, timing)
    shared = _simulated(_serialised(apart, ideal), world, timing)
    return Prediction(
        ideal=_seconds(ideal),
        shared=_seconds(shared),
        compute=sum(times.prefill) * ranks + sum(times.decode) * ranks * (steps - 1),
    )


def _timing(times: Times) -> Measured:
    hops = (times.requests_hop, times.output_hop, times.decode_hop, times.prefill_hop)
    points = {0: 0, **{hop.nbytes: round(hop.seconds / TICK) for hop in hops}}
    return Measured(tick=TICK, points=tuple(sorted(points.items())))


def _timed(ops: Sequence[Operation], times: Times, rank: int) -> list[Operation]:
    """The operations of a rank with what they take: the first batch of every slot is a prefill."""
    slots = len(times.prefill)
    forwards = proxies = 0
    out: list[Operation] = []
    for op in ops:
        if isinstance(op, Compute):
            op = replace(op, seconds=(times.prefill if forwards < slots else times.decode)[rank])
            forwards += 1
        elif isinstance(op, Isend) and op.tag == PROXY:
            op = replace(op, nbytes=(times.prefill_hop if proxies < slots else times.decode_hop).nbytes)
            proxies += 1
        elif isinstance(op, Isend):
            op = replace(op, nbytes={OUTPUT: times.output_hop, REQUESTS: times.requests_hop}[op.tag].nbytes)
        out.append(op)
    return out


def _simulated(given: Program, world: Mapping[str, Semantics], timing: Timing) -> Simulation:
    found = simulate(columns_of(lower(given, world)), timing)
    if found.hangs:
        raise ValueError("the model says that this pipeline hangs, so it takes no time; choose another ordering")
    return found


def _seconds(found: Simulation) -> float:
    assert found.makespan is not None
    return found.makespan * TICK


def _serialised(given: Program, found: Simulation) -> Program:
    """The program where each forward waits for the one that starts before it in `found`, wherever that runs."""
    columns = found.columns
    ranks = columns.rank_of[columns.thread_of()]
    begins = {
        (int(rank), int(index)): int(at)
        for rank, index, at in zip(ranks, columns.index, found.arrived, strict=True)
        if isinstance(given[rank][index], Compute)
    }
    order = sorted(begins, key=lambda place: (begins[place], place))  # down the chain where they start together
    before, after = {later: sooner for sooner, later in pairwise(order)}, dict(pairwise(order))
    out: list[list[Operation]] = []
    for rank, ops in enumerate(given):
        mine: list[Operation] = []
        for index, op in enumerate(ops):
            place = (rank, index)
            if place in before and before[place][0] != rank:
                mine.append(Recv(peer=before[place][0], comm=CARD))
            mine.append(op)
            if place in after and after[place][0] != rank:
                mine.append(Send(peer=after[place][0], comm=CARD, nbytes=0))
        out.append(mine)
    return program(out)


def explained(measured: float, found: Prediction) -> str:
    """One sentence: how far the measured seconds are from both predictions, and what that leaves to explain."""
    rest = measured - found.shared
    side, sharing = "more" if rest >= 0 else "less", found.shared - found.ideal
    return (
        f"All slots full, the run took {measured:.2f} s. With a card for every stage the event graph gives "
        f"{found.ideal:.2f} s; with one card that computes for one stage at a time {found.shared:.2f} s, of which "
        f"{found.compute:.2f} s are compute, so sharing the card accounts for {sharing:.2f} s. The run took "
        f"{abs(rest):.2f} s ({abs(rest) / found.shared:.0%}) {side} than predicted for the shared card: that is what "
        "stage and hop times do not hold, such as switches between processes, copies beside compute, and the host's "
        "own work."
    )
