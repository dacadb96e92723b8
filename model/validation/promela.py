"""Programs in Promela, the language of the model checker SPIN: an outside judge of verdicts and of states.

The encoding `straight`: one process a thread, one statement an instruction of `lowering`, for every program
without wildcards, probes, barriers, queues and cold connections. (`spin_ring` has the encoding `loop`.)

What is matched: with every reduction off (`spin -o1 -o2 -o3`, `cc -DNOREDUCE`), one state of SPIN is one
state of `spin.spin_processes`. There a process ends in a step of its own, and the last one created first.
A channel in Promela is of one class (communicator, source, destination, tag), first in, first out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from model.semantics.buffer_slots import RENDEZVOUS, STORED
from model.semantics.columns import columns_of
from model.semantics.guards import guards_of
from model.semantics.instructions import Instruction, Lowered

MAX_OF_SPIN = 255
"""Most processes, and most messages of a channel, of SPIN."""

MessageClass = tuple[str, int, int, int]


def to_promela(lowered: Lowered) -> str:
    """A lowered program, in the encoding `straight`.

    Posted and stored messages wait in `sent`, posted receives in `want`; a send and a receive that both
    block meet in `meet`. Raises ValueError on what this encoding has no words for.
    """
    return "\n".join(_Straight(lowered).lines()) + "\n"


@dataclass(slots=True)
class _Channel:
    """The messages of one class: their numbers in order of posting, and which Promela channels they need."""

    number: int
    sends: list[int]
    recvs: list[int]
    meets: bool = False


class _Straight:
    def __init__(self, lowered: Lowered) -> None:
        if lowered.wild:
            raise ValueError("wildcard receives have no export to Promela; use the explorer")
        if len(lowered.threads) > MAX_OF_SPIN:
            raise ValueError(f"{len(lowered.threads)} processes are too many for SPIN; it takes {MAX_OF_SPIN}")
        self.lowered = lowered
        self.guards = guards_of(columns_of(lowered))
        self.classes: dict[MessageClass, _Channel] = {}
        self.by_route: dict[tuple[str, int, int], set[MessageClass]] = defaultdict(set)
        for message, end in enumerate(lowered.messages):
            kind = (*end.channel(), end.tag)
            channel = self.classes.setdefault(kind, _Channel(len(self.classes), [], []))
            (channel.sends if end.sends else channel.recvs).append(message)
            self.by_route[end.channel()].add(kind)
        for channel in self.classes.values():
            if max(len(channel.sends), len(channel.recvs)) > MAX_OF_SPIN:
                raise ValueError(
                    f"{len(channel.sends)} messages of one class are too many for SPIN; it takes {MAX_OF_SPIN}"
                )
            channel.meets = any(map(self._blocking, channel.sends)) and any(map(self._blocking, channel.recvs))

    def lines(self) -> Iterator[str]:
        yield "/* no statement merging, no reduction: spin -a -o1 -o2 -o3, cc -DSAFETY -DNOREDUCE */"
        for (comm, source, target, tag), channel in self.classes.items():
            n = channel.number
            yield f"/* {n}: {plain(comm)}, {source} to {target}, tag {tag} */"
            yield f"chan sent{n} = [{max(1, len(channel.sends))}] of {{ bit }};"
            yield f"chan want{n} = [{max(1, len(channel.recvs))}] of {{ bit }};"
            if channel.meets:
                yield f"chan meet{n} = [0] of {{ byte }};"
        for number, thread in enumerate(self.lowered.threads):
            yield ""
            yield f"active proctype T{number}() /* rank {thread.rank} */"
            yield "{"
            for head in thread.code:
                yield f"  {self._statement(head)}; /* {plain(str(head.op))} */"
            yield "  true; /* nothing to do */\n}" if not thread.code else "}"

    def _statement(self, head: Instruction) -> str:
        if head.kind in ("sync", "probe") or head.after is not None:
            what = {"sync": "barriers and cold connections", "probe": "probes"}.get(head.kind, "queues and lanes")
            raise ValueError(f"{head.op!s}: {what} have no export to Promela; use the explorer")
        if head.kind == "local":
            return "true"
        if head.kind == "await":
            return " && ".join(self._complete(message, head) for message in head.messages) or "true"
        (message,) = head.messages
        channel = self._channel(message)
        sent, want, meet = (f"{name}{channel.number}" for name in ("sent", "want", "meet"))
        if head.kind == "recv":
            if head.blocking:
                return f"if :: {sent}?1 :: {meet}?0 fi" if channel.meets else f"{sent}?1"
            return f"d_step {{ if :: {sent}?1 :: empty({sent}) -> {want}!1 fi }}"
        if not head.blocking:
            return f"d_step {{ if :: {want}?1 :: empty({want}) -> {sent}!1 fi }}"
        room = self._room(message, posted=channel.sends.index(message))
        ways = [f"{want}?1"]
        if room != "false":
            ways.append(f"d_step {{ empty({want}) && {room} -> {sent}!1 }}")
        if channel.meets and room != "true":
            # the receiver takes a 0 only, so a pair does not meet while an earlier message or receive waits
            ways.append(f"{meet}!((len({sent}) == 0 && len({want}) == 0 && !({room})) -> 0 : 1)")
        return "if " + " ".join(f":: {way}" for way in ways) + " fi"

    def _complete(self, message: int, head: Instruction) -> str:
        """That a posted message is matched or stored: first in, first out, so the last ones of its class wait."""
        channel = self._channel(message)
        sends = self.lowered.messages[message].sends
        side = channel.sends if sends else channel.recvs
        posted = sum(self._passed(other, head) for other in side)
        after = posted - side.index(message) - 1
        matched = f"len({'sent' if sends else 'want'}{channel.number}) <= {after}"
        room = self._room(message, posted=posted) if sends else "false"
        return "true" if room == "true" else matched if room == "false" else f"({matched} || {room})"

    def _room(self, send: int, *, posted: int) -> str:
        """Whether a send is stored, where its rank has posted so many of its class: a test of what waits before it."""
        end, channel = self.lowered.messages[send], self._channel(send)
        if self.guards.columns.always[send]:
            return "true"
        if not end.stored(0, 0):
            return "false"
        if len(self.by_route[end.channel()]) > 1:
            raise ValueError(f"{end.semantics.name}: several tags in a bounded channel have no export to Promela")
        slot = int(self.guards.slot[send])
        if slot == RENDEZVOUS:
            return "false"
        received = 0 if slot == STORED else channel.recvs.index(slot) + 1  # so many must be, before it
        return f"len(sent{channel.number}) <= {posted - received}"

    def _channel(self, message: int) -> _Channel:
        end = self.lowered.messages[message]
        return self.classes[(*end.channel(), end.tag)]

    def _blocking(self, message: int) -> bool:
        location = self.lowered.posts[message]
        return self.lowered.threads[location.thread].code[location.at].blocking

    def _passed(self, message: int, head: Instruction) -> bool:
        location = self.lowered.posts[message]
        code = self.lowered.threads[location.thread].code
        return any(one is head for one in code[location.at + 1 :])


def plain(words: str) -> str:
    """Words that may stand in a comment."""
    return re.sub(r"[^\w ,.:=()<-]", "?", words, flags=re.ASCII)
