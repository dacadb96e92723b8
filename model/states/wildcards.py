"""The transition system of a program with wildcard receives: what these need beyond guards.

Which send such a receive meets depends on the interleaving, so positions are not the whole state: what is in flight
belongs to it. Posting is a step that never blocks, and waiting is one of its own. A message meets its receive in a
further step, as late as it likes: it may overtake those of other sources, on its way to a receive that is already
posted too, and never an earlier one of its own source that the receive would take as well. A message goes to the
first posted receive that takes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from model.program.ops import ANY
from model.semantics.instructions import Instruction, Lowered, Message


class InFlight(NamedTuple):
    """`positions[t]` is thread t's next instruction; `sends` and `recvs` are the posted, unmatched messages, sorted."""

    positions: tuple[int, ...]
    sends: tuple[int, ...]
    recvs: tuple[int, ...]


class WildcardStep(NamedTuple):
    """Thread `thread` passes its instruction; where `match` and `takes` are given, receive `takes` takes message
    `match` instead, and no position moves.
    """

    thread: int
    match: int | None = None
    takes: int | None = None


class WildcardMachine:
    """The transition system of one lowered program, of which a thread is a rank and no instruction blocks."""

    def __init__(self, lowered: Lowered) -> None:
        assert lowered.wild, "guards say all that there is to say"
        assert not any(item.blocking or item.after for thread in lowered.threads for item in thread.code)
        self.lowered = lowered
        self.messages = lowered.messages
        self.code = tuple(thread.code for thread in lowered.threads)

    def initial(self) -> InFlight:
        """The state in which no rank has done anything."""
        return InFlight((0,) * len(self.code), (), ())

    def finished(self, state: InFlight) -> bool:
        """Whether every thread has come to its end."""
        return all(at == len(code) for at, code in zip(state.positions, self.code, strict=True))

    def enabled(self, state: InFlight) -> list[WildcardStep]:
        """Every step that may happen next, with one for each message that each receive could take."""
        threads = [thread for thread in range(len(self.code)) if self._passes(state, thread)]
        return [*map(WildcardStep, threads), *self._meetings(state)]

    def persistent(self, state: InFlight) -> list[WildcardStep]:
        """Enough of `enabled` to reach every ending: one step where it neither harms nor depends on the others.

        Passing an instruction is such a step, and so is a meeting at a receive without wildcards, as no other
        message can come there first; other meetings exclude each other (Godefroid 1996: persistent sets).
        """
        steps = self.enabled(state)
        for step in steps:
            if step.takes is None or ANY not in (self.messages[step.takes].peer, self.messages[step.takes].tag):
                return [step]
        return steps

    def step(self, state: InFlight, step: WildcardStep) -> InFlight:
        """The state after `step`, which must be enabled."""
        positions, sends, recvs = state
        if step.takes is not None:
            return InFlight(positions, _without(sends, step.match), _without(recvs, step.takes))
        item = self.code[step.thread][positions[step.thread]]
        if item.kind == "send":
            sends = tuple(sorted((*sends, *item.messages)))
        elif item.kind == "recv":
            recvs = tuple(sorted((*recvs, *item.messages)))
        after = list(positions)
        after[step.thread] += 1
        return InFlight(tuple(after), sends, recvs)

    def head(self, state: InFlight, thread: int) -> Instruction | None:
        """The instruction that the thread is at, or None at its end."""
        code, at = self.code[thread], state.positions[thread]
        return code[at] if at < len(code) else None

    def incomplete(self, state: InFlight, item: Instruction) -> list[int]:
        """The messages that an instruction awaits and that are neither matched nor stored."""
        return [
            end for end in item.messages if end in state.recvs or (end in state.sends and not self._stored(state, end))
        ]

    def unreceived(self, state: InFlight) -> list[int]:
        """The messages posted and not matched, but for those that a rank is blocked in."""
        locations = [(message, self.lowered.posts[message]) for message in (*state.sends, *state.recvs)]
        return [
            message
            for message, (thread, at) in locations
            if not (self.code[thread][at].silent and state.positions[thread] == at + 1)
        ]

    def moved(self, state: InFlight, step: WildcardStep) -> list[tuple[int, Instruction]]:
        """(rank, instruction) of each rank that takes part; nothing where another step shows the operation."""
        if step.takes is None or step.match is None:
            item = self.code[step.thread][state.positions[step.thread]]
            hidden = self._hidden(state, step.thread, item)
            return [] if hidden else [(self.lowered.threads[step.thread].rank, item)]
        posts = [(self.messages[end].rank, self.lowered.posts[end]) for end in (step.match, step.takes)]
        return sorted(((rank, self.code[at.thread][at.at]) for rank, at in posts), key=lambda pair: pair[0])

    def _hidden(self, state: InFlight, thread: int, item: Instruction) -> bool:
        """Posting, or meeting, shows a blocking operation; so its wait does only where the message is stored."""
        if item.kind != "await" or state.positions[thread] == 0:
            return item.silent
        before = self.code[thread][state.positions[thread] - 1]
        halves = before.silent and before.index == item.index
        return halves and not any(message in state.sends for message in item.messages)

    def _passes(self, state: InFlight, thread: int) -> bool:
        item = self.head(state, thread)
        if item is None:
            return False
        if item.kind == "await":
            return not self.incomplete(state, item)
        if item.kind == "sync":
            return not item.missing_partners and all(
                state.positions[other] >= at for other, at in item.rendezvous_partners
            )
        return item.probes is None or any(
            _match(self.messages[send], item.probes) and self._matching_receive(state, send) is None
            for send in state.sends
        )

    def _meetings(self, state: InFlight) -> Iterator[WildcardStep]:
        for send in state.sends:
            recv = self._matching_receive(state, send)
            if recv is None:
                continue
            rank = self.messages[send].rank
            rivals = (other for other in state.sends if other < send and self.messages[other].rank == rank)
            if not any(_match(self.messages[other], self.messages[recv]) for other in rivals):
                yield WildcardStep(self.messages[recv].rank, match=send, takes=recv)

    def _matching_receive(self, state: InFlight, send: int) -> int | None:
        return next((recv for recv in state.recvs if _match(self.messages[send], self.messages[recv])), None)

    def _stored(self, state: InFlight, send: int) -> bool:
        """Whether the library has room for a message, given those of its channel that were posted before it."""
        end = self.messages[send]
        before = [
            self.messages[other].nbytes
            for other in state.sends
            if other < send and self.messages[other].channel() == end.channel()
        ]
        return end.stored(len(before), sum(before))


def _match(send: Message, recv: Message) -> bool:
    return (
        send.peer == recv.rank
        and send.comm == recv.comm
        and recv.peer in (send.rank, ANY)
        and recv.tag in (send.tag, ANY)
    )


def _without(messages: tuple[int, ...], gone: int | None) -> tuple[int, ...]:
    return tuple(message for message in messages if message != gone)
