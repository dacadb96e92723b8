"""The instructions that a program comes down to: what `lowering` makes; columns and guards are made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from model.program.ops import Mode, Operation
from model.semantics.parameters import Semantics


class Location(NamedTuple):
    """Instruction `at` of a thread."""

    thread: int
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One end of a message: a send or a receive of the program."""

    rank: int
    peer: int
    tag: int
    comm: str
    nbytes: int
    sends: bool
    mode: Mode
    semantics: Semantics

    def channel(self) -> tuple[str, int, int]:
        """Communicator, source and destination; of a receive the source may be `ANY`."""
        return (self.comm, self.rank, self.peer) if self.sends else (self.comm, self.peer, self.rank)

    def stored(self, waiting: int, waiting_bytes: int) -> bool:
        """Whether this send is stored when so many earlier ones of its channel are not yet received."""
        if self.mode == "standard":
            return self.semantics.stores(self.nbytes, waiting, waiting_bytes)
        return self.mode == "buffered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What an operation comes down to.

    send, recv: posts its one message; `blocking`: passes only once the message is stored or matched, and
        counts as posted while the thread is at it.
    await: passes once every one of its messages is posted, and matched or stored.
    sync: passes once the thread of each of its `rendezvous_partners` has come there; never if some rank is among its
        `missing_partners`.
    probe: passes once a message is on its way that the end `probes` would match.
    local: passes.
    silent: a half of an operation that no path shows.
    """

    kind: Literal["send", "recv", "await", "sync", "probe", "local"]
    op: Operation
    index: int  # of the operation in its rank's list
    messages: tuple[int, ...] = ()
    blocking: bool = False
    after: Location | None = None
    rendezvous_partners: tuple[Location, ...] = ()
    missing_partners: tuple[int, ...] = ()
    probes: Message | None = None
    silent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """A host, a queue or a lane of a rank."""

    rank: int
    code: tuple[Instruction, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """A program in instructions. Threads 0 to ranks - 1 are the hosts; `posts[m]` is where message m is posted.

    The messages of a channel are numbered in the order in which they are posted. wild: the program has
    wildcard receives; then nothing but `send`, `recv` and `await` touches messages, and none is blocking.
    """

    ranks: int
    threads: tuple[Thread, ...]
    messages: tuple[Message, ...]
    posts: tuple[Location, ...]
    wild: bool
