"""How a send whose bytes are not yet in host memory gets to the hosts' group: by a thread, or in between.

To a process group sends are handed by a thread, which may wait for copies while the rank goes on. Rings of shared
memory are polled, and a thread beside one that polls would wait for the interpreter more than for the copies. There
the rank itself hands on what is ready, whenever it waits for a ring: progress is then made inside of operations only,
which will not do for a rank that also waits in collectives.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Protocol

import torch
import torch.distributed as dist

from model.program.ops import Isend, Send
from reference.transport.base import PeerLost
from reference.transport.shared_memory import Bytes, RingGroup

Channel = tuple[int, int]
"""Peer and tag."""


@dataclass(slots=True, kw_only=True)
class PendingSend:
    """A send under way: chunk by chunk of `chunks`, each once its event in `copied`, if there are any, has happened.

    buffer, payload: held meanwhile. `posted` becomes true once every chunk is with the group; a thread also sets
    `event` then. Or `failure` says why that cannot be.
    """

    op: Send | Isend
    buffer: torch.Tensor | None
    chunks: Sequence[torch.Tensor | Bytes]
    copied: Sequence[Any]
    payload: torch.Tensor | Bytes
    posted: bool = False
    event: threading.Event | None = None
    works: list[dist.Work] = field(default_factory=list)
    failure: Exception | None = None


class SendQueue(Protocol):
    """Takes sends and hands them on. Those to one peer with one tag keep their order."""

    def put(self, out: PendingSend) -> None:
        """Takes a send over."""

    def finish(self, out: PendingSend) -> None:
        """Returns when the send is over. Raises PeerLost where it could not be made."""

    def close(self) -> None:
        """Ends it; what is still to be sent is dropped."""


class ThreadSendQueue:
    """Threads wait for the copies.

    sends_block: whether the group's own send may wait, too, for its receiver. Then every channel has a thread of its
    own, as one that is full must not hold up another; else one thread serves all. What waits for nothing is handed on
    at once.
    """

    def __init__(self, groups: Mapping[str, Any], *, sends_block: bool) -> None:
        self._groups, self._sends_block = dict(groups), sends_block
        self._lanes: dict[Channel | None, SimpleQueue[PendingSend | None]] = {}
        self._latest: dict[Channel | None, PendingSend] = {}
        for group in self._groups.values():
            if isinstance(group, RingGroup):
                group.meanwhile = self._yield

    def put(self, out: PendingSend) -> None:
        """Posts what can be posted at once, and leaves the rest to a thread."""
        channel = self._channel(out)
        before = self._latest.get(channel)
        idle = before is None or before.posted
        at_once = idle and self._fits(out) and all(event.query() for event in out.copied)
        out.event = threading.Event()
        self._latest[channel] = out
        if at_once:
            self._post(out)  # nothing to wait for: the thread would only cost time
        else:
            self._lane(channel).put(out)

    def finish(self, out: PendingSend) -> None:
        """As `SendQueue.finish`."""
        assert out.event is not None, "taken over"
        out.event.wait()
        if out.failure is not None:
            raise out.failure
        try:
            for work in out.works:
                work.wait()
        except RuntimeError as error:
            raise PeerLost(out.op.peer, str(error)) from None

    def close(self) -> None:
        """Ends the threads."""
        for group in self._groups.values():
            if isinstance(group, RingGroup):
                group.close()
        for lane in self._lanes.values():
            lane.put(None)

    def _channel(self, out: PendingSend) -> Channel | None:
        return (out.op.peer, out.op.tag) if self._sends_block else None

    def _fits(self, out: PendingSend) -> bool:
        """Whether the group takes the message without waiting for its receiver."""
        group = self._groups[out.op.comm]
        nbytes = sum(chunk.nbytes for chunk in out.chunks)
        return not self._sends_block or bool(group.fits(nbytes, out.op.peer, out.op.tag))

    def _yield(self) -> None:
        """Who polls lets the threads have the interpreter, where they have something to do."""
        if not all(out.posted for out in list(self._latest.values())):  # it is called by the threads, too
            time.sleep(0)

    def _lane(self, channel: Channel | None) -> SimpleQueue[PendingSend | None]:
        if channel not in self._lanes:
            lane = self._lanes[channel] = SimpleQueue()
            threading.Thread(target=self._post_all, args=(lane,), name="host-staged sends", daemon=True).start()
        return self._lanes[channel]

    def _post_all(self, lane: SimpleQueue[PendingSend | None]) -> None:
        """A thread: posts sends in order, each chunk once its copy is done."""
        while (out := lane.get()) is not None:
            self._post(out)

    def _post(self, out: PendingSend) -> None:
        try:
            group = self._groups[out.op.comm]
            for number, chunk in enumerate(out.chunks):
                if out.copied:
                    out.copied[number].synchronize()
                try:
                    out.works.append(group.send([chunk], out.op.peer, out.op.tag))
                except RuntimeError as error:
                    raise PeerLost(out.op.peer, str(error)) from None
        except Exception as error:  # whatever it is, who waits for the send is told
            out.failure = error
        out.posted = True
        assert out.event is not None, "taken over"
        out.event.set()


class PolledSendQueue:
    """The rank hands on what is ready whenever its group waits, and with every new send."""

    def __init__(self, group: RingGroup) -> None:
        self._group = group
        self._waiting: dict[Channel, deque[_PartialSend]] = {}
        group.meanwhile = self._advance

    def put(self, out: PendingSend) -> None:
        """Hands on what is ready. Raises ValueError where there is no such peer."""
        self._group.check(out.op.peer, out.op.tag)
        self._waiting.setdefault((out.op.peer, out.op.tag), deque()).append(_PartialSend(out=out))
        self._advance()

    def finish(self, out: PendingSend) -> None:
        """As `SendQueue.finish`; of a ring nobody is lost."""
        if not out.posted:
            self._group.poll_until(lambda: out.posted)

    def close(self) -> None:
        """Drops what is left."""
        self._waiting.clear()

    def _advance(self) -> None:
        for rests in self._waiting.values():
            while rests and self._over(rests[0]):
                rests.popleft()

    def _over(self, rest: _PartialSend) -> bool:
        """Whether all of a send is in its ring, after as much of it as can be has been put there."""
        out = rest.out
        while rest.number < len(out.chunks):
            if out.copied and not out.copied[rest.number].query():
                return False
            chunk = out.chunks[rest.number]
            rest.at += self._group.try_send(chunk, out.op.peer, out.op.tag, begin=rest.at)
            if rest.at < chunk.nbytes:
                return False
            rest.number, rest.at = rest.number + 1, 0
        out.posted = True
        return True


@dataclass(slots=True, kw_only=True)
class _PartialSend:
    """What is left of a send: from byte `at` of chunk `number` on."""

    out: PendingSend
    number: int = 0
    at: int = 0
