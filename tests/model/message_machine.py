"""The transition system message by message, without matching and without guards: what the engines are held against.

A state is the position of every thread and what is in flight. One step is one thread passing its instruction, or a
blocked send and a blocked receive passing together. A blocking instruction counts as posted while a thread is at it;
any other is posted by its step. A message meets its receive as soon as both are posted.
"""

from collections.abc import Iterator
from typing import NamedTuple

from model.program.ops import ANY
from model.semantics.instructions import Instruction, Lowered, Message


class State(NamedTuple):
    """`heads[t]` is thread t's next instruction; `sends` and `recvs` are the posted, unmatched messages, sorted."""

    heads: tuple[int, ...]
    sends: tuple[int, ...]
    recvs: tuple[int, ...]


class Step(NamedTuple):
    """Thread `thread` passes its head, together with thread `partner` if any, matching message `match` if any."""

    thread: int
    partner: int | None = None
    match: int | None = None


class MessageMachine:
    """The transition system of one lowered program without wildcard receives."""

    def __init__(self, lowered: Lowered) -> None:
        self.lowered = lowered
        self.messages = self.lowered.messages
        self.code = tuple(thread.code for thread in self.lowered.threads)

    @property
    def size(self) -> int:
        """The number of instructions."""
        return sum(map(len, self.code))

    def initial(self) -> State:
        """The state in which no rank has done anything."""
        return State(tuple(0 for _ in self.code), (), ())

    def finished(self, state: State) -> bool:
        """Whether every thread has come to its end."""
        return all(head == len(code) for head, code in zip(state.heads, self.code, strict=True))

    def enabled(self, state: State) -> list[Step]:
        """Every step that may happen next."""
        steps = [step for thread in range(len(self.code)) for step in self._steps(state, thread)]
        return steps

    def step(self, state: State, step: Step) -> State:
        """The state after `step`, which must be enabled."""
        sends, recvs = state.sends, state.recvs
        heads = list(state.heads)
        head = self.code[step.thread][heads[step.thread]]
        if step.partner is not None:
            heads[step.partner] += 1
        elif head.kind == "send":
            if step.match is None:
                sends = tuple(sorted((*sends, *head.messages)))
            else:
                recvs = _without(recvs, step.match)
        elif head.kind == "recv":
            if step.match is None:
                recvs = tuple(sorted((*recvs, *head.messages)))
            else:
                sends = _without(sends, step.match)
        heads[step.thread] += 1
        return State(tuple(heads), sends, recvs)

    def head(self, state: State, thread: int) -> Instruction | None:
        """The instruction that the thread is at, or None at its end."""
        code = self.code[thread]
        return code[state.heads[thread]] if state.heads[thread] < len(code) else None

    def ready(self, state: State, thread: int) -> Instruction | None:
        """The instruction that the thread is at, or None at its end or where it is not yet handed over."""
        head = self.head(state, thread)
        if head is not None and head.after is not None and state.heads[head.after.thread] <= head.after.at:
            return None
        return head

    def posted(self, state: State, message: int) -> bool:
        """Whether the instruction that posts this message is passed."""
        place = self.lowered.posts[message]
        return state.heads[place.thread] > place.at

    def incomplete(self, state: State, head: Instruction) -> list[int]:
        """The messages of an instruction that are not posted, or posted but neither matched nor stored."""
        return [
            end
            for end in head.messages
            if end in state.recvs
            or (not self.stored(state, end) if end in state.sends else not self.posted(state, end))
        ]

    def stored(self, state: State, send: int) -> bool:
        """Whether the library has room for a message, given those of its channel that were posted before it."""
        end = self.messages[send]
        before = [
            self.messages[other].nbytes
            for other in state.sends
            if other < send and self.messages[other].channel() == end.channel()
        ]
        return end.stored(len(before), sum(before))

    def _steps(self, state: State, thread: int) -> Iterator[Step]:
        head = self.ready(state, thread)
        if head is None:
            return
        if head.kind == "send":
            yield from self._send_steps(state, thread, head)
        elif head.kind == "recv":
            yield from self._recv_steps(state, thread, head)
        elif self._passes(state, head):
            yield Step(thread)

    def _passes(self, state: State, head: Instruction) -> bool:
        if head.kind == "await":
            return not self.incomplete(state, head)
        if head.kind == "sync":
            return not head.missing_partners and all(
                state.heads[place.thread] >= place.at for place in head.rendezvous_partners
            )
        return head.probes is None or self._on_its_way(state, head.probes)

    def _send_steps(self, state: State, thread: int, head: Instruction) -> Iterator[Step]:
        (send,) = head.messages
        recv = self._matching_receive(state, send)
        if recv is not None:
            yield Step(thread, match=recv)
        elif not head.blocking or self.stored(state, send):
            yield Step(thread)

    def _recv_steps(self, state: State, thread: int, head: Instruction) -> Iterator[Step]:
        (recv,) = head.messages
        found = next((s for s in state.sends if self._match(s, recv)), None)
        if found is not None:
            yield Step(thread, match=found)
        elif not head.blocking:
            yield Step(thread)
        else:
            for other, send in self._blocked_sends(state):
                if other != thread and _match(self.messages[send], self.messages[recv]):
                    yield Step(thread, partner=other, match=send)

    def _blocked_sends(self, state: State) -> Iterator[tuple[int, int]]:
        """(thread, message) of each send that is posted at its head, and is neither stored nor about to be taken."""
        for thread in range(len(self.code)):
            head = self.ready(state, thread)
            if head is not None and head.kind == "send" and head.blocking:
                (send,) = head.messages
                if self._matching_receive(state, send) is None and not self.stored(state, send):
                    yield thread, send

    def _on_its_way(self, state: State, probe: Message) -> bool:
        """Whether a message is posted that `probe` matches and no posted receive takes."""
        blocked = [send for _, send in self._blocked_sends(state)]
        return any(
            _match(self.messages[send], probe) and self._matching_receive(state, send) is None
            for send in (*state.sends, *blocked)
        )

    def _matching_receive(self, state: State, send: int) -> int | None:
        return next((recv for recv in state.recvs if self._match(send, recv)), None)

    def _match(self, send: int, recv: int) -> bool:
        return _match(self.messages[send], self.messages[recv])


def _match(send: Message, recv: Message) -> bool:
    return (
        send.peer == recv.rank
        and send.comm == recv.comm
        and recv.peer in (send.rank, ANY)
        and recv.tag in (send.tag, ANY)
    )


def _without(messages: tuple[int, ...], gone: int | None) -> tuple[int, ...]:
    return tuple(message for message in messages if message != gone)
