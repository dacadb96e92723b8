"""From a program and the semantics of its libraries to instructions: the one place where semantics act.

Every rank has a host, a *thread* with its program; each queue of a library is a thread of its rank beside it
(statement 10), and so is each lane of a batch that goes in order per peer. A thread passes its instructions
in order, and one that is `after` a location of another thread waits until that thread has passed it. The
columns, and from them the guards that the transition system and the event graph both read, are made of these
instructions, so they cannot disagree on what a library promises.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from model.program.checked import Program, wildcard_free
from model.program.ops import (
    ANY,
    NULL,
    Barrier,
    Batch,
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
from model.semantics.instructions import Instruction, Location, Lowered, Message, Thread
from model.semantics.parameters import Semantics, SemanticsByComm, semantics_by_comm, semantics_of


def lower(program: Program, semantics: Semantics | SemanticsByComm) -> Lowered:
    """The instructions of a program on its libraries.

    Raises ValueError where a communicator has no semantics, or where wildcards or probes meet a library
    that queues its operations, sets up connections at first use or goes through a batch per peer.
    """
    return _Lowering(program, semantics_by_comm(semantics)).lowered()


_Key = tuple[str, object]  # what hosts meet for: a barrier or a connection


class _Lowering:
    def __init__(self, program: Program, by_comm: SemanticsByComm) -> None:
        self._program, self._by_comm, self._wild = program, by_comm, not wildcard_free(program)
        self._messages: list[Message] = []
        self._posts: list[Location] = []
        self._code: list[list[Instruction]] = [[] for _ in program]
        self._ranks = list(range(len(program)))  # by thread
        self._queues: dict[tuple[int, str, object], int] = {}
        self._members: dict[_Key, tuple[int, ...]] = {}
        self._arrivals: dict[_Key, dict[int, Location]] = defaultdict(dict)
        self._syncs: list[tuple[Location, tuple[_Key, ...]]] = []

    def lowered(self) -> Lowered:
        for rank, ops in enumerate(self._program):
            open_requests: dict[RequestId, int | Isend | None] = {}
            barriers = 0
            for index, op in enumerate(ops):
                if isinstance(op, Barrier):
                    self._sync(rank, [("barrier", barriers)], tuple(range(len(self._program))), op, index)
                    barriers += 1
                else:
                    self._operation(rank, op, index, open_requests)
        for location, keys in self._syncs:
            code, rank = self._code[location.thread], self._ranks[location.thread]
            others = [(key, other) for key in keys for other in self._members[key] if other != rank]
            code[location.at] = replace(
                code[location.at],
                rendezvous_partners=tuple(
                    self._arrivals[key][other] for key, other in others if other in self._arrivals[key]
                ),
                missing_partners=tuple(sorted({other for key, other in others if other not in self._arrivals[key]})),
            )
        return Lowered(
            ranks=len(self._program),
            threads=tuple(Thread(rank=r, code=tuple(c)) for r, c in zip(self._ranks, self._code, strict=True)),
            messages=tuple(self._messages),
            posts=tuple(self._posts),
            wild=self._wild,
        )

    def _operation(self, rank: int, op: Operation, index: int, requests: dict[RequestId, int | Isend | None]) -> None:
        if isinstance(op, Wait):
            waited = [requests[request] for request in op.requests]
            started = [self._start(rank, one, op, index) for one in waited if isinstance(one, Isend)]
            self._await(rank, [*(one for one in waited if isinstance(one, int)), *started], op, index)
        elif isinstance(op, Batch | Sendrecv):
            self._batch(rank, op, index)
        elif isinstance(op, Compute) or op.peer == NULL:  # type: ignore[union-attr]
            if isinstance(op, Isend | Irecv):
                requests[op.request] = None
            self._emit(rank, Instruction(kind="local", op=op, index=index))
        elif isinstance(op, Probe):
            probes = self._end(rank, op)
            if probes.semantics.order != "none":
                raise ValueError(f"{probes.semantics.name} queues its operations and has no probe; use another library")
            self._emit(rank, Instruction(kind="probe", op=op, index=index, probes=probes))
        elif isinstance(op, Isend | Irecv):
            if isinstance(op, Isend) and semantics_of(self._by_comm, op.comm).isend_returns == "deferred":
                requests[op.request] = op
                self._emit(rank, Instruction(kind="local", op=op, index=index))
            else:
                requests[op.request] = self._start(rank, op, op, index)
        elif isinstance(op, Send | Recv):
            self._start(rank, op, op, index)

    def _start(self, rank: int, op: Send | Recv | Isend | Irecv, of: Operation, index: int) -> int:
        """Posts one message; `of` is the operation that does it, which is not `op` where the transfer is deferred."""
        end = self._end(rank, op)
        returns = end.semantics.isend_returns
        blocking = isinstance(op, Send | Recv) or (isinstance(op, Isend) and returns in ("match", "completion"))
        self._connect(rank, [end], of, index)
        if end.semantics.order == "none":
            return self._post(rank, end, of, index, blocking=blocking)
        domain = (min(rank, end.peer), max(rank, end.peer)) if end.semantics.order == "pair" else None
        message = self._post(
            self._queue(rank, end.comm, domain), end, of, index, blocking=True, after=self._hand_over(rank, of, index)
        )
        if blocking:
            self._await(rank, [message], of, index)
        return message

    def _batch(self, rank: int, op: Batch | Sendrecv, index: int) -> None:
        if isinstance(op, Batch):
            parts: tuple[Isend | Irecv, ...] = op.ops
        else:
            parts = (
                Isend(peer=op.peer, tag=op.tag, nbytes=op.nbytes, comm=op.comm, request=0),
                Irecv(peer=op.source, tag=op.source_tag, comm=op.comm, request=1),
            )
        groups: dict[str, list[Message]] = defaultdict(list)
        for part in parts:
            if part.peer != NULL:
                end = self._end(rank, part)
                # the batches of a library with a queue for each pair have a communicator of their own
                apart = end.semantics.order == "pair"
                groups[end.comm].append(replace(end, comm=f"{end.comm}, batched") if apart else end)
        messages: list[int] = []
        self._connect(rank, [end for ends in groups.values() for end in ends], op, index)
        for ends in groups.values():
            rules = ends[0].semantics
            style = rules.batch if isinstance(op, Batch) else "concurrent"
            if rules.order == "none":
                messages += self._group(rank, ends, op, index, style=style)
            else:
                queue = self._queue(rank, ends[0].comm, None)
                after = self._hand_over(rank, op, index)
                self._emit(queue, Instruction(kind="local", op=op, index=index, after=after, silent=True))
                queued = self._group(queue, ends, op, index, style=style)
                self._await(queue, queued, op, index)
                messages += queued
        self._await(rank, messages, op, index)

    def _group(self, thread: int, ends: Sequence[Message], op: Operation, index: int, *, style: str) -> list[int]:
        """Posts the messages of a batch on a thread, as the library goes through it."""
        if style != "per-peer":
            return [self._post(thread, end, op, index, blocking=style == "replayed" and not end.sends) for end in ends]
        lanes: dict[tuple[int, bool], list[Message]] = defaultdict(list)
        for end in ends:
            lanes[end.peer, end.sends].append(end)
        messages: list[int] = []
        for lane in lanes.values():
            if len(lane) == 1:
                messages.append(self._post(thread, lane[0], op, index, blocking=False))
                continue
            after = self._hand_over(thread, op, index)
            beside = self._thread(self._ranks[thread])
            messages += [self._post(beside, end, op, index, blocking=True, after=after) for end in lane]
        return messages

    def _end(self, rank: int, op: Send | Recv | Isend | Irecv | Probe) -> Message:
        rules = semantics_of(self._by_comm, op.comm)
        sends = isinstance(op, Send | Isend)
        if self._wild or (isinstance(op, Probe) and ANY in (op.peer, op.tag)):
            for trait, plain in (("order", "none"), ("connection", "warm")):
                if getattr(rules, trait) != plain:
                    raise ValueError(
                        f"wildcards do not go with {trait} {getattr(rules, trait)} of {rules.name}; use mpich"
                    )
            if rules.batch == "per-peer":
                raise ValueError(f"wildcards do not go with the per-peer batches of {rules.name}; use mpich")
        return Message(
            rank=rank,
            peer=op.peer,
            tag=op.tag,
            comm=op.comm,
            nbytes=op.nbytes if isinstance(op, Send | Isend) else 0,
            sends=sends,
            mode=op.mode if isinstance(op, Send | Isend) else "standard",
            semantics=rules,
        )

    def _connect(self, rank: int, ends: Iterable[Message], op: Operation, index: int) -> None:
        """The hosts meet where these messages are the first of their pair or direction."""
        keys: list[_Key] = []
        members: tuple[int, ...] = ()
        for end in ends:
            how, (comm, source, target) = end.semantics.connection, end.channel()
            if how == "warm" or source == target:
                continue
            route = (source, target) if how == "direction" else (min(source, target), max(source, target))
            key: _Key = (how, (comm, *route))
            self._members[key] = route
            if rank not in self._arrivals[key] and key not in keys:
                keys.append(key)
        if keys:
            self._sync(rank, keys, members, op, index)

    def _sync(self, rank: int, keys: Sequence[_Key], members: tuple[int, ...], op: Operation, index: int) -> None:
        location = self._emit(rank, Instruction(kind="sync", op=op, index=index, silent=not isinstance(op, Barrier)))
        for key in keys:
            self._members.setdefault(key, members)
            self._arrivals[key][rank] = location
        self._syncs.append((location, tuple(keys)))

    def _post(
        self, thread: int, end: Message, op: Operation, index: int, *, blocking: bool, after: Location | None = None
    ) -> int:
        message = len(self._messages)
        self._messages.append(end)
        split = blocking and self._wild  # a wildcard chooses between messages that wait: posting comes first
        location = self._emit(
            thread,
            Instruction(
                kind="send" if end.sends else "recv",
                op=op,
                index=index,
                messages=(message,),
                blocking=blocking and not split,
                after=after,
                silent=split,
            ),
        )
        self._posts.append(location)
        if split:
            self._await(thread, [message], op, index)
        return message

    def _await(self, thread: int, messages: Iterable[int], op: Operation, index: int) -> None:
        self._emit(thread, Instruction(kind="await", op=op, index=index, messages=tuple(messages)))

    def _hand_over(self, thread: int, op: Operation, index: int) -> Location:
        return self._emit(thread, Instruction(kind="local", op=op, index=index, silent=True))

    def _queue(self, rank: int, comm: str, domain: object) -> int:
        key = (rank, comm, domain)
        if key not in self._queues:
            self._queues[key] = self._thread(rank)
        return self._queues[key]

    def _thread(self, rank: int) -> int:
        self._ranks.append(rank)
        self._code.append([])
        return len(self._code) - 1

    def _emit(self, thread: int, instruction: Instruction) -> Location:
        self._code[thread].append(instruction)
        return Location(thread, len(self._code[thread]) - 1)
