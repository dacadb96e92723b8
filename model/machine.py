"""The transition system of a program under the semantics of its libraries: what may happen next.

A state is the position of every rank and what is in flight. One step is one rank finishing the
instruction at its head, or a blocked send and a blocked receive finishing together (rendezvous). A
blocking call counts as posted while it is at the head; an isend or irecv is posted by its step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from model.forms import text
from model.ops import ANY, Batch, Irecv, Isend, Operation, Program, Recv, Request, Send, Wait
from model.semantics import Semantics, World, of_comm, world


class State(NamedTuple):
    """`heads[r]` is rank r's next instruction; `sends` and `recvs` are the posted, unmatched messages, sorted."""

    heads: tuple[int, ...]
    sends: tuple[int, ...]
    recvs: tuple[int, ...]


class Step(NamedTuple):
    """Rank `rank` finishes its head, together with rank `partner` if any, matching message `match` if any."""

    rank: int
    partner: int | None = None
    match: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One end of a message: a send or a receive of the program."""

    rank: int
    peer: int
    tag: int
    comm: str
    nbytes: int
    semantics: Semantics

    def channel(self) -> tuple[str, int, int]:
        return (self.comm, self.rank, self.peer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What an operation comes down to. `blocking`: it passes only once the message is stored or matched."""

    kind: Literal["send", "recv", "await", "local"]
    op: Operation
    index: int  # of the operation in its rank's list
    messages: tuple[int, ...] = ()
    blocking: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """A rank that cannot go on, the operation it is in, and the ranks any of which could free it."""

    rank: int
    op: str
    index: int
    waits_for: tuple[int, ...]


class Machine:
    """The transition system of one program; `explorer` needs only initial, enabled, step and finished."""

    def __init__(self, program: Program, given: Semantics | World) -> None:
        self.program = program
        self._world = world(given)
        self.messages: list[Message] = []
        self.code: list[list[Instruction]] = [self._compile(rank, ops) for rank, ops in enumerate(program)]

    def initial(self) -> State:
        """The state in which no rank has done anything."""
        return State(tuple(0 for _ in self.code), (), ())

    def finished(self, state: State) -> bool:
        """Whether every rank has come to the end of its program."""
        return all(head == len(code) for head, code in zip(state.heads, self.code, strict=True))

    def enabled(self, state: State) -> list[Step]:
        """Every step that may happen next; with wildcard receives one step for each message they could take."""
        steps: list[Step] = []
        for rank in range(len(self.code)):
            head = self.head(state, rank)
            if head is None:
                continue
            if head.kind == "local" or (head.kind == "await" and not self._incomplete(state, head)):
                steps.append(Step(rank))
            elif head.kind == "send":
                (send,) = head.messages
                taker = self._posted_recv(state, send)
                if taker is not None:
                    steps.append(Step(rank, match=taker))
                elif not head.blocking or self._stored(state, send):
                    steps.append(Step(rank))
            elif head.kind == "recv":
                steps.extend(self._recv_steps(state, rank, head))
        return steps

    def step(self, state: State, step: Step) -> State:
        """The state after `step`, which must be enabled."""
        heads = list(state.heads)
        sends, recvs = state.sends, state.recvs
        head = self.code[step.rank][heads[step.rank]]
        if step.partner is not None:
            heads[step.partner] += 1
        elif head.kind == "send":
            if step.match is None:
                sends = tuple(sorted((*sends, *head.messages)))
            else:
                recvs = tuple(recv for recv in recvs if recv != step.match)
        elif head.kind == "recv":
            if step.match is None:
                recvs = tuple(sorted((*recvs, *head.messages)))
            else:
                sends = tuple(send for send in sends if send != step.match)
        heads[step.rank] += 1
        return State(tuple(heads), sends, recvs)

    def head(self, state: State, rank: int) -> Instruction | None:
        """The instruction that the rank is at, or None at its end."""
        code = self.code[rank]
        return code[state.heads[rank]] if state.heads[rank] < len(code) else None

    def blocked(self, state: State) -> tuple[Blocked, ...]:
        """Every unfinished rank of a state without steps, and whom it waits for."""
        out = []
        for rank in range(len(self.code)):
            head = self.head(state, rank)
            if head is None:
                continue
            waiting = self._incomplete(state, head) if head.kind == "await" else head.messages
            peers = {peer for message in waiting for peer in self._peers(message)}
            out.append(Blocked(rank=rank, op=text(head.op), index=head.index, waits_for=tuple(sorted(peers))))
        return tuple(out)

    def unmatched(self, state: State) -> tuple[str, ...]:
        """The messages that were sent and not received, or awaited and not sent."""
        names = []
        for word, side in (("sent to", state.sends), ("awaited from", state.recvs)):
            for index in side:
                end = self.messages[index]
                peer = "any rank" if end.peer == ANY else f"rank {end.peer}"
                names.append(f"rank {end.rank}: message {word} {peer}, tag {'any' if end.tag == ANY else end.tag}")
        return tuple(names)

    def describe(self, state: State, step: Step) -> tuple[tuple[int, str], ...]:
        """(rank, operation) of each rank that the step moves."""
        ranks = [step.rank] if step.partner is None else sorted((step.rank, step.partner))
        return tuple((rank, text(self.code[rank][state.heads[rank]].op)) for rank in ranks)

    def _compile(self, rank: int, ops: tuple[Operation, ...]) -> list[Instruction]:
        code: list[Instruction] = []
        open_requests: dict[Request, int] = {}

        def post(op: Send | Isend | Recv | Irecv, of: Operation, index: int) -> int:
            kind: Literal["send", "recv"] = "send" if isinstance(op, Send | Isend) else "recv"
            end = len(self.messages)
            rules = of_comm(self._world, op.comm)
            nbytes = op.nbytes if isinstance(op, Send | Isend) else 0
            self.messages.append(
                Message(rank=rank, peer=op.peer, tag=op.tag, comm=op.comm, nbytes=nbytes, semantics=rules)
            )
            # a batch hands its operations over together, so none of them holds up the next
            blocks = isinstance(op, Send | Recv) or (
                isinstance(op, Isend) and op is of and rules.isend_returns == "match"
            )
            code.append(Instruction(kind=kind, op=of, index=index, messages=(end,), blocking=blocks))
            return end

        for index, op in enumerate(ops):
            if isinstance(op, Batch):
                ends = tuple(post(part, op, index) for part in op.ops)
                code.append(Instruction(kind="await", op=op, index=index, messages=ends))
            elif isinstance(op, Wait):
                ends = tuple(open_requests[request] for request in op.requests)
                code.append(Instruction(kind="await", op=op, index=index, messages=ends))
            elif isinstance(op, Send | Isend | Recv | Irecv):
                end = post(op, op, index)
                if isinstance(op, Isend | Irecv):
                    open_requests[op.request] = end
            else:
                code.append(Instruction(kind="local", op=op, index=index))
        return code

    def _recv_steps(self, state: State, rank: int, head: Instruction) -> list[Step]:
        (recv,) = head.messages
        steps, served = [], set()
        for send in state.sends:  # in program order of each source, so the first match of a source counts
            source = self.messages[send].rank
            if source not in served and self._match(send, recv):
                served.add(source)
                steps.append(Step(rank, match=send))
        if head.blocking:
            for source in range(len(self.code)):
                other = self.head(state, source)
                if source == rank or source in served or other is None:
                    continue
                if other.kind == "send" and other.blocking and self._match(other.messages[0], recv):
                    send = other.messages[0]
                    if self._posted_recv(state, send) is None and not self._stored(state, send):
                        steps.append(Step(rank, partner=source, match=send))
        elif not steps:
            steps.append(Step(rank))
        return steps

    def _match(self, send: int, recv: int) -> bool:
        s, r = self.messages[send], self.messages[recv]
        return s.peer == r.rank and s.comm == r.comm and r.peer in (s.rank, ANY) and r.tag in (s.tag, ANY)

    def _posted_recv(self, state: State, send: int) -> int | None:
        return next((recv for recv in state.recvs if self._match(send, recv)), None)

    def _stored(self, state: State, send: int) -> bool:
        """Whether the library has room for a message, given those of its channel that were posted before it."""
        end = self.messages[send]
        before = sum(1 for other in state.sends if other < send and self.messages[other].channel() == end.channel())
        return end.semantics.stores(end.nbytes, before)

    def _incomplete(self, state: State, head: Instruction) -> list[int]:
        """The messages of an await that are posted, but neither matched nor stored."""
        return [
            end for end in head.messages if end in state.recvs or (end in state.sends and not self._stored(state, end))
        ]

    def _peers(self, message: int) -> set[int]:
        end = self.messages[message]
        return set(range(len(self.code))) - {end.rank} if end.peer == ANY else {end.peer}
