"""What a communication library promises, as data: the parameters that decide whether a program finishes.

A program may use several communicators with libraries of their own, so engines take a `SemanticsByComm`: semantics
by communicator name. `model.semantics.libraries` holds the named libraries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from model.program.json_form import short
from model.program.numbers import check_whole

UNLIMITED = -1
"""No bound, for `eager_limit`, `capacity` and `fifo`."""

Returns = Literal["post", "match", "completion", "deferred"]
Progress = Literal["independent", "inside"]
Order = Literal["none", "pair", "communicator"]
Connection = Literal["warm", "pair", "direction"]
Grouping = Literal["concurrent", "replayed", "per-peer"]
Evidence = Literal["measured", "read", "definition"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Semantics:
    """One library's behaviour. Raises ValueError on a value that is not among the choices.

    isend_returns: when the call of an isend outside a batch returns. `post`: at once; `match`: when the
        message is stored or its receive is posted; `completion`: when the transfer is over (the same
        verdicts as match, other durations); `deferred`: at once, but the transfer starts only at its wait.
    polling: whether a send that has to wait polls instead of sleeping, so that a deadlock shows as a
        livelock (statement 12).
    eager_limit: bytes of the largest message that is stored at once.
    capacity: how many messages a channel (communicator, source, destination) stores, for messages over
        the eager limit; 0 is rendezvous.
    fifo: how many bytes a channel stores.
    progress: `inside` if what may be stored is taken up only while the receiver is inside a call. A rank
        that is stuck is inside one, and so is one that has finished, so verdicts are those of
        `independent`; durations are not.
    order: in what its operations are queued, each starting once the one before is complete (statement 10).
        `pair`: one stream for each pair of ranks, both directions, and one for the batches; `communicator`:
        one for everything.
    connection: which first use is a rendezvous of the hosts (statement 11): none, of each pair of ranks,
        or of each direction.
    batch: `concurrent`: all at once; `replayed`: in list order, where a receive holds up what follows it;
        `per-peer`: in list order for each peer and direction.
    evidence, source: how and where this is known from.
    """

    name: str
    isend_returns: Returns
    polling: bool = False
    eager_limit: int = 0
    capacity: int = 0
    fifo: int = 0
    progress: Progress = "independent"
    order: Order = "none"
    connection: Connection = "warm"
    batch: Grouping = "concurrent"
    evidence: Evidence = "definition"
    source: str

    def __post_init__(self) -> None:
        for name, kind in _CHOICES.items():
            value = getattr(self, name)
            if value not in get_args(kind):
                raise ValueError(f"{name} of {self.name} is {value!r}; choose one of {', '.join(get_args(kind))}")
        if not isinstance(self.polling, bool):
            raise ValueError(f"polling of {self.name} is {short(self.polling)}; give True or False")
        for name in ("eager_limit", "capacity", "fifo"):
            value = getattr(self, name)
            check_whole(f"{name} of {self.name}", value)
            if value < UNLIMITED:
                raise ValueError(f"{name} of {self.name} is {value}; give 0 or more, or {UNLIMITED} for no bound")

    def stores(self, nbytes: int, waiting: int, waiting_bytes: int = 0) -> bool:
        """Whether a standard message is stored when `waiting` earlier ones of its channel are not yet received.

        nbytes: of the message; waiting_bytes: of those earlier ones together.
        """
        if self.eager_limit == UNLIMITED or (self.eager_limit > 0 and nbytes <= self.eager_limit):
            return True
        if self.fifo == UNLIMITED or (self.fifo > 0 and waiting_bytes + nbytes <= self.fifo):
            return True
        return self.capacity == UNLIMITED or waiting < self.capacity

    @property
    def buffers(self) -> bool:
        """Whether any message is stored at all."""
        return (self.eager_limit, self.capacity, self.fifo) != (0, 0, 0)

    def unbuffered(self) -> Semantics:
        """The same library where nothing is stored: every standard send is a rendezvous."""
        return replace(self, name=f"{self.name}, unbuffered", eager_limit=0, capacity=0, fifo=0)


_CHOICES: Mapping[str, object] = {
    "isend_returns": Returns,
    "progress": Progress,
    "order": Order,
    "connection": Connection,
    "batch": Grouping,
    "evidence": Evidence,
}

SemanticsByComm = Mapping[str, Semantics]
"""Semantics by communicator; the key `*` serves every communicator that has none of its own."""

EVERY_COMM = "*"


def semantics_by_comm(semantics: Semantics | SemanticsByComm) -> SemanticsByComm:
    """Semantics for every communicator, from one for all or from a mapping."""
    return {EVERY_COMM: semantics} if isinstance(semantics, Semantics) else semantics


def semantics_of(by_comm: SemanticsByComm, comm: str) -> Semantics:
    """The semantics of one communicator; ValueError where neither it nor `*` is declared."""
    semantics = by_comm.get(comm) or by_comm.get(EVERY_COMM)
    if semantics is None:
        raise ValueError(f"no semantics for communicator {comm!r}; declare it, or '*' for every communicator")
    return semantics
