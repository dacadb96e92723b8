"""The pipeline-parallel serving loop, once, without I/O.

`serving_loop` is the loop of one rank as a generator. It yields what the rank does next and is told what
came of it. `unroll` drives all ranks with presence patterns and gives a program for the engines of
`model`; `reference.pipeline.driver` drives one rank per process with tensors. What the loop does depends on
which slots hold a batch and on nothing else. Source: SGLang's `event_loop_pp`, as the paper describes it.

Names: P ranks, async depth d, L = P + d microbatch slots; in iteration n a rank works on slot n mod L. A
batch that is formed in iteration n comes back as output, and is finished, in iteration n + L - 1.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from model.program.checked import Program, program
from model.program.ops import Batch, Compute, Irecv, Isend, Operation, Recv, Wait
from model.rings.orderings import Ordering

CONTROL = "control"
"""Communicator of the requests: between hosts."""

DATA = "data"
"""Communicator of hidden states and outputs: between devices."""

REQUESTS, PROXY, OUTPUT = 0, 1, 2
"""Tags of the three kinds of message; also the names of their send requests."""

COMM = {REQUESTS: CONTROL, PROXY: DATA, OUTPUT: DATA}


class Phase(StrEnum):
    """What a step of the loop is for. The comment says what the driver answers, if anything."""

    POLL = "poll"  # rank 0 takes what arrived: True to go on, False to stop once idle
    RECV_REQUESTS = "receive requests"  # True to go on, False when rank 0 stopped
    SEND_REQUESTS = "send requests"
    FORM = "form batch"  # whether the slot now holds a batch
    RECV_PROXY = "receive proxy"
    LAUNCH = "launch forward"  # a driver may launch a decode step one step early; its device times then are the next's
    SEND_OUTPUT = "send output"
    RECV_OUTPUT = "receive output"
    EXCHANGE_OUTPUT = "exchange output"  # both at once, or one of them, where the policy is grouped
    KEEP_OUTPUT = "keep output"  # P = 1: the output needs no message
    FINISH = "finish batch"
    SEND_PROXY = "send proxy"
    WAIT = "wait for send"
    # Of a grid only (`tensor_parallel`): collectives of the ranks that share a stage.
    SHARE_REQUESTS = "share requests"
    TAKE_REQUESTS = "take shared requests"  # in place of the poll, and answered as it is
    GATHER_PROXY = "gather proxy"
    AGREE_OUTPUT = "agree on output"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that a rank does. `op` is its operation, if it is one that other ranks can notice or wait for.

    slot: of the batch concerned; of an exchange, the one that is sent. into: of an exchange, the one that is received.
    collective: one that the step is, or ends in, as operations that wait for the same ranks (`tensor_parallel`).
    """

    phase: Phase
    slot: int
    into: int | None = None
    op: Operation | None = None
    collective: tuple[Operation, ...] = ()


Loop = Generator[Step, bool | None, None]
Answer = Generator[Step, bool | None, bool | None]


def serving_loop(*, rank: int, ranks: int, depth: int, ordering: Ordering) -> Loop:
    """The endless loop of one rank; it ends once its driver says stop and nothing is in flight.

    Raises ValueError (at the first step) unless 0 <= rank < ranks and depth >= 0.
    """
    if not 0 <= rank < ranks:
        raise ValueError(f"there is no rank {rank} among {ranks}; ranks are 0 to {ranks - 1}")
    if depth < 0:
        raise ValueError(f"depth is {depth}; give 0 or more")
    yield from _ServingRank(rank, ranks, depth, ordering).run()


class _ServingRank:
    """One rank, between its steps."""

    def __init__(self, rank: int, ranks: int, depth: int, ordering: Ordering) -> None:
        self.rank, self.ranks, self.depth, self.ordering = rank, ranks, depth, ordering
        self.following, self.previous, self.last = (rank + 1) % ranks, (rank - 1) % ranks, rank == ranks - 1
        self.slot = 0
        self.present = [False] * (ranks + depth)  # whether each slot holds a batch
        self.pending: set[int] = set()  # sends that were not waited for
        self.carried: int | None = None  # slot whose output arrived in the last iteration, for all but the last rank

    def run(self) -> Loop:
        """The loop. `returning` is the slot whose output comes back, `leaving` the one that the last rank sends off."""
        present = self.present
        while True:
            slot = self.slot
            returning, leaving = (slot + 1) % len(present), (slot + self.ranks) % len(present)
            if self.rank == 0:
                go_on = yield Step(phase=Phase.POLL, slot=slot)
            else:
                go_on = yield from self.recv(Phase.RECV_REQUESTS, REQUESTS, slot)
            if not self.last:
                yield from self.wait(REQUESTS)
                yield from self.send(Phase.SEND_REQUESTS, REQUESTS, slot)
            present[slot] = bool((yield Step(phase=Phase.FORM, slot=slot)))
            if not (go_on or self.carried is not None or any(present)):
                break
            if present[slot] and self.rank > 0:
                yield from self.recv(Phase.RECV_PROXY, PROXY, slot)
            if self.depth > 0:
                arrived = yield from self.output_phase(returning, leaving)
            yield from self.wait(PROXY)
            if present[slot]:
                yield Step(phase=Phase.LAUNCH, slot=slot, op=Compute(label=f"forward {slot}"))
            if self.depth == 0:
                arrived = yield from self.output_phase(returning, leaving)
            if present[returning]:
                yield Step(phase=Phase.FINISH, slot=returning)
                present[returning] = False
            if present[slot] and not self.last:
                yield from self.send(Phase.SEND_PROXY, PROXY, slot)
            self.carried = arrived
            self.slot = returning
        for tag in (REQUESTS, PROXY, OUTPUT):
            yield from self.wait(tag)

    def send(self, phase: Phase, tag: int, slot: int) -> Loop:
        """To the following rank, to be waited for before the next of its tag."""
        self.pending.add(tag)
        yield Step(phase=phase, slot=slot, op=Isend(peer=self.following, tag=tag, request=tag, comm=COMM[tag]))

    def recv(self, phase: Phase, tag: int, slot: int) -> Answer:
        """From the previous rank."""
        return (yield Step(phase=phase, slot=slot, op=Recv(peer=self.previous, tag=tag, comm=COMM[tag])))

    def wait(self, tag: int) -> Loop:
        """Until the last send of a tag, if there was one, is complete."""
        if tag in self.pending:
            self.pending.discard(tag)
            yield Step(phase=Phase.WAIT, slot=self.slot, op=Wait(requests=(tag,)))

    def output_phase(self, returning: int, leaving: int) -> Generator[Step, bool | None, int | None]:
        """One cyclic shift: the last rank sends the output of `leaving`, the others what they carry; all take one.

        Returns the slot whose output arrived.
        """
        if self.ranks == 1:
            if self.present[leaving]:
                yield Step(phase=Phase.KEEP_OUTPUT, slot=leaving)
            return None
        yield from self.wait(OUTPUT)
        if self.ordering.grouped:
            return (yield from self.exchange(returning if self.present[returning] else None, self.outgoing(leaving)))
        arrived = None
        for half in self.ordering.halves(self.rank, self.ranks):
            if half == "S":
                outgoing = self.outgoing(leaving)
                if outgoing is not None:
                    yield from self.send(Phase.SEND_OUTPUT, OUTPUT, outgoing)
            elif self.present[returning]:
                arrived = returning
                yield from self.recv(Phase.RECV_OUTPUT, OUTPUT, returning)
        return arrived

    def outgoing(self, leaving: int) -> int | None:
        """The slot whose output this rank sends."""
        if self.last:
            return leaving if self.present[leaving] else None
        return self.carried

    def exchange(self, incoming: int | None, outgoing: int | None) -> Generator[Step, bool | None, int | None]:
        """Both halves as one group. A half that stands alone is a group too: its other end may be in one of two."""
        parts: dict[str, Isend | Irecv] = {}
        if outgoing is not None:
            parts["S"] = Isend(peer=self.following, tag=OUTPUT, request="sent", comm=DATA)
        if incoming is not None:
            parts["R"] = Irecv(peer=self.previous, tag=OUTPUT, request="received", comm=DATA)
        if parts:
            op = Batch(ops=tuple(parts[half] for half in self.ordering.halves(self.rank, self.ranks) if half in parts))
            slot = self.slot if outgoing is None else outgoing
            yield Step(phase=Phase.EXCHANGE_OUTPUT, slot=slot, into=incoming, op=op)
        return incoming


def unroll(
    *,
    ranks: int,
    depth: int,
    ordering: Ordering,
    present: Sequence[bool],
    nbytes: int = 1,
    seconds: float = 0.0,
) -> Program:
    """The loop of all ranks as a program, where iteration n forms a batch iff `present[n]`, then drains.

    nbytes is the size of every data message, seconds the time of every forward of a stage.
    """
    return program(
        unroll_rank(serving_loop(rank=rank, ranks=ranks, depth=depth, ordering=ordering), present, nbytes, seconds)
        for rank in range(ranks)
    )


def unroll_rank(loop: Loop, present: Sequence[bool], nbytes: int = 1, seconds: float = 0.0) -> list[Operation]:
    """The operations of one loop, driven as `unroll` says."""
    operations: list[Operation] = []
    polls = forms = 0
    answer: bool | None = None
    while True:
        try:
            step = loop.send(answer)
        except StopIteration:
            return operations
        answer = None
        if step.phase in (Phase.POLL, Phase.RECV_REQUESTS, Phase.TAKE_REQUESTS):
            polls += 1
            answer = polls <= len(present)
        elif step.phase is Phase.FORM:
            answer = forms < len(present) and present[forms]
            forms += 1
        if step.op is not None:
            operations.append(_sized(step.op, nbytes, seconds))
        operations.extend(step.collective)


def _sized(op: Operation, nbytes: int, seconds: float) -> Operation:
    if isinstance(op, Batch):
        return replace(op, ops=tuple(replace(one, nbytes=nbytes) if isinstance(one, Isend) else one for one in op.ops))
    if isinstance(op, Isend) and op.comm == DATA:
        return replace(op, nbytes=nbytes)
    return replace(op, seconds=seconds) if isinstance(op, Compute) else op
