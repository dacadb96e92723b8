"""A program without wildcards as gates: what each thread must see of the others before it passes an instruction.

Without wildcard receives the n-th send of a class meets the n-th receive (`matching`), so the position of
every thread decides the whole state of `machine`: what is in flight follows from it. An instruction passes
alone once each thread in its gate has come far enough, and an enabled step stays enabled (statement 1).
`search` steps whole frontiers of such states, one or a few machine words each.
"""

from __future__ import annotations

from dataclasses import dataclass

from model.semantics.instructions import Instruction, Location, Lowered
from model.semantics.matching import channels, partners, probed

NEVER = 2**31 - 1
"""A position that no thread comes to."""

ALWAYS = -1
"""Before every message."""

Need = tuple[int, int]
"""(thread, position): that thread's head is there or further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One instruction. It is handed over once the need `after` holds, and then passes alone once all `needs` hold.

    meets: of a receive, (thread, position): it passes together with that thread, when that thread's head is
    there and what stands there is handed over.
    """

    needs: tuple[Need, ...] = ()
    after: Need | None = None
    meets: Need | None = None


Gates = tuple[tuple[Gate, ...], ...]
"""Index t holds the gates of thread t, in order."""


def gates(lowered: Lowered) -> Gates:
    """The gates of a lowered program. Raises ValueError where a receive or a probe has a wildcard."""
    return _Compiler(lowered).gates()


class _Compiler:
    def __init__(self, lowered: Lowered) -> None:
        self.lowered = lowered
        self.other = partners(lowered)
        self.probed = probed(lowered)
        self.stored: dict[int, int] = {}
        """By send, the receive of its channel whose passing makes room for it: ALWAYS, a message, or NEVER."""
        for sends in channels(lowered).values():
            self._store(sends)

    def gates(self) -> Gates:
        return tuple(
            tuple(self._gate(Location(number, at), instruction) for at, instruction in enumerate(thread.code))
            for number, thread in enumerate(self.lowered.threads)
        )

    def _store(self, sends: list[int]) -> None:
        """Receives of one channel pass in the order of their posting, so room for a message comes at one of them."""
        for number, send in enumerate(sends):
            end = self.lowered.messages[send]
            left = dict.fromkeys(sends[:number])
            taken = sorted((recv, before) for before in left if (recv := self.other[before]) is not None)
            for recv, before in [(ALWAYS, None), *taken]:
                left.pop(before, None)  # type: ignore[arg-type]
                if end.stored(len(left), sum(self.lowered.messages[other].nbytes for other in left)):
                    self.stored[send] = recv
                    break
            else:
                self.stored[send] = NEVER

    def _gate(self, place: Location, head: Instruction) -> Gate:
        after = None if head.after is None else (head.after.thread, head.after.at + 1)
        if head.kind == "sync":
            needs = tuple((other.thread, other.at) for other in head.meets)
            return Gate(needs=(*needs, (place.thread, NEVER)) if head.absent else needs, after=after)
        if head.kind == "await":
            return Gate(needs=tuple(need for end in head.messages for need in self._complete(end)), after=after)
        if head.kind == "probe":
            return Gate(needs=(self._seen(place),), after=after)
        if head.kind == "local" or not head.blocking:
            return Gate(after=after)
        (message,) = head.messages
        if head.kind == "send":
            recv = self.other[message]
            early = recv is not None and not self._blocking(recv)
            come = min(self.stored[message], recv if early and recv is not None else NEVER)
            return Gate(needs=self._come(place, come), after=after)
        send = self.other[message]
        if send is None:
            return Gate(needs=((place.thread, NEVER),), after=after)
        source = self.lowered.posts[send]
        joint = self._blocking(send) and self.stored[send] >= message and source.thread != place.thread
        return Gate(
            needs=((source.thread, source.at + 1),), after=after, meets=(source.thread, source.at) if joint else None
        )

    def _complete(self, message: int) -> tuple[Need, ...]:
        """What it takes that a message is posted, and matched or stored."""
        place, other = self.lowered.posts[message], self.other[message]
        come = min(NEVER if other is None else other, self.stored.get(message, NEVER))
        return ((place.thread, place.at + 1), *self._come(place, come))

    def _come(self, place: Location, message: int) -> tuple[Need, ...]:
        """What it takes that a message is posted, or that ALWAYS or NEVER."""
        if message == ALWAYS:
            return ()
        if message == NEVER:
            return ((place.thread, NEVER),)
        other = self.lowered.posts[message]
        return ((other.thread, other.at + 1),)

    def _seen(self, probe: Location) -> Need:
        """A probe sees a send that is posted, or blocked at its head; one that is stored has to be posted first."""
        send = self.probed[probe]
        if send is None:
            return (probe.thread, NEVER)
        source, room = self.lowered.posts[send], self.stored[send]
        place = None if room in (ALWAYS, NEVER) else self.lowered.posts[room]
        has_room = room == ALWAYS or (place is not None and place.thread == probe.thread and place.at < probe.at)
        return (source.thread, source.at + (has_room or not self._blocking(send)))

    def _blocking(self, message: int) -> bool:
        place = self.lowered.posts[message]
        return self.lowered.threads[place.thread].code[place.at].blocking


def symmetry(given: Gates) -> int:
    """The least s > 0 such that turning the ranks by s leaves the program as it is: at most the number of ranks."""
    ranks = len(given)

    def turned(need: Need | None, by: int) -> Need | None:
        return None if need is None else ((need[0] + by) % ranks, need[1])

    def same(gate: Gate, other: Gate, by: int) -> bool:
        return (
            sorted(turned(need, by) or need for need in gate.needs) == sorted(other.needs)
            and turned(gate.after, by) == other.after
            and turned(gate.meets, by) == other.meets
        )

    def fits(by: int) -> bool:
        pairs = ((code, given[(rank + by) % ranks]) for rank, code in enumerate(given))
        return all(len(a) == len(b) and all(same(x, y, by) for x, y in zip(a, b, strict=True)) for a, b in pairs)

    return next(by for by in range(1, ranks + 1) if ranks % by == 0 and fits(by))
