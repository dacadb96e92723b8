"""The transition system of a program under the semantics of its libraries: what may happen next.

A state is the position of every thread and what is in flight. One step is one thread passing the
instruction at its head, or a blocked send and a blocked receive passing together (rendezvous). A blocking
instruction counts as posted while it is at the head; any other is posted by its step.

Without wildcard receives a message meets its receive as soon as both are posted (statement 1: it makes no
difference). With them the meeting is a step of its own, as late as it likes: a message may overtake those
of other sources, on its way to a receive that is already posted too, and never an earlier one of its own
source that the receive would take as well. A message goes to the first posted receive that takes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from model.program.checked import Program
from model.program.ops import ANY
from model.semantics.instructions import Instruction, Message
from model.semantics.lowering import lower
from model.semantics.parameters import Semantics, SemanticsByComm


class State(NamedTuple):
    """`heads[t]` is thread t's next instruction; `sends` and `recvs` are the posted, unmatched messages, sorted."""

    heads: tuple[int, ...]
    sends: tuple[int, ...]
    recvs: tuple[int, ...]


class Step(NamedTuple):
    """Thread `thread` passes its head, together with thread `partner` if any, matching message `match` if any.

    Where `takes` is given no head moves: receive `takes` of host `thread` takes message `match`.
    """

    thread: int
    partner: int | None = None
    match: int | None = None
    takes: int | None = None


class Machine:
    """The transition system of one program; `explorer` needs only initial, enabled, step and finished."""

    def __init__(self, program: Program, given: Semantics | SemanticsByComm) -> None:
        self.program = program
        self.lowered = lower(program, given)
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
        """Every step that may happen next; with wildcard receives one step for each message they could take."""
        steps = [step for thread in range(len(self.code)) for step in self._steps(state, thread)]
        if self.lowered.wild:
            steps.extend(self._meetings(state))
        return steps

    def persistent(self, state: State) -> list[Step]:
        """Enough of `enabled` to reach every ending: one step where it neither harms nor depends on the others.

        Passing an instruction is such a step, and so is a meeting at a receive without wildcards, as no other
        message can come there first; other meetings exclude each other (Godefroid 1996: persistent sets).
        """
        steps = self.enabled(state)
        for step in steps:
            if step.takes is None or ANY not in (self.messages[step.takes].peer, self.messages[step.takes].tag):
                return [step]
        return steps

    def step(self, state: State, step: Step) -> State:
        """The state after `step`, which must be enabled."""
        sends, recvs = state.sends, state.recvs
        if step.takes is not None:
            return State(state.heads, _without(sends, step.match), _without(recvs, step.takes))
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

    def unmatched(self, state: State) -> tuple[str, ...]:
        """The messages sent and not received, or awaited and not sent, but for those that a rank is blocked in."""
        names = []
        for word, side in (("sent to", state.sends), ("awaited from", state.recvs)):
            for index in side:
                place = self.lowered.posts[index]
                if self.code[place.thread][place.at].silent and state.heads[place.thread] == place.at + 1:
                    continue
                end = self.messages[index]
                peer = "any rank" if end.peer == ANY else f"rank {end.peer}"
                names.append(f"rank {end.rank}: message {word} {peer}, tag {'any' if end.tag == ANY else end.tag}")
        return tuple(names)

    def describe(self, state: State, step: Step) -> tuple[tuple[int, str], ...]:
        """(rank, operation) of each rank that takes part; nothing where a step is half of an operation."""
        if step.takes is not None and step.match is not None:
            ends = (step.match, step.takes)
            places = [self.lowered.posts[end] for end in ends]
            moved = [(self.messages[e].rank, self.code[p.thread][p.at]) for e, p in zip(ends, places, strict=True)]
        else:
            threads = [step.thread] if step.partner is None else [step.thread, step.partner]
            moved = [(self.lowered.threads[t].rank, self.code[t][state.heads[t]]) for t in threads]
            if self._told(state, step.thread, moved[0][1]):
                return ()
        return tuple((rank, str(head.op)) for rank, head in sorted(moved, key=lambda item: item[0]))

    def _told(self, state: State, thread: int, head: Instruction) -> bool:
        """Whether a trace leaves out this step, as another one shows the operation: posting, or meeting, does."""
        if head.kind != "await" or state.heads[thread] == 0:
            return head.silent
        before = self.code[thread][state.heads[thread] - 1]
        halves = before.silent and before.index == head.index
        return halves and not any(message in state.sends for message in head.messages)

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
            return not head.absent and all(state.heads[place.thread] >= place.at for place in head.meets)
        return head.probes is None or self._on_its_way(state, head.probes)

    def _send_steps(self, state: State, thread: int, head: Instruction) -> Iterator[Step]:
        (send,) = head.messages
        taker = None if self.lowered.wild else self._taker(state, send)
        if taker is not None:
            yield Step(thread, match=taker)
        elif not head.blocking or self.stored(state, send):
            yield Step(thread)

    def _recv_steps(self, state: State, thread: int, head: Instruction) -> Iterator[Step]:
        (recv,) = head.messages
        found = None if self.lowered.wild else next((s for s in state.sends if self._match(s, recv)), None)
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
                if self._taker(state, send) is None and not self.stored(state, send):
                    yield thread, send

    def _meetings(self, state: State) -> Iterator[Step]:
        for send in state.sends:
            recv = self._taker(state, send)
            if recv is None:
                continue
            rank = self.messages[send].rank
            rivals = (other for other in state.sends if other < send and self.messages[other].rank == rank)
            if not any(self._match(other, recv) for other in rivals):
                yield Step(self.messages[recv].rank, match=send, takes=recv)

    def _on_its_way(self, state: State, probe: Message) -> bool:
        """Whether a message is posted that `probe` matches and no posted receive takes."""
        blocked = [send for _, send in self._blocked_sends(state)]
        return any(
            _match(self.messages[send], probe) and self._taker(state, send) is None for send in (*state.sends, *blocked)
        )

    def _taker(self, state: State, send: int) -> int | None:
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
