"""Who runs next: requests, microbatch slots, rows of the KV cache, admission. Imports no torch.

Every rank runs a scheduler of its own and they never talk. They agree because they are deterministic and are
told the same things in the same iterations: what arrived (it travels down the chain with its iteration) and
which tokens came back (they travel around the ring). So a rank knows the shape of every message before it
arrives.

The life of a request: `add` puts it in the queue; `form` of an empty slot admits it, gives it a row and
prefills it; `finish` appends its first token; each later `form` of that slot decodes one more; the `finish`
that sees a stop token, or the last token asked for, frees its row.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from reference.requests import Arrivals, Reason, Request, Token


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One microbatch: for each of its B requests the row of the cache, and the tokens to be put there next.

    starts: how many tokens the row holds already. tokens: per request, those that follow; all the prompt in
    a prefill, one in a decode.
    """

    requests: tuple[int, ...]
    rows: tuple[int, ...]
    starts: tuple[int, ...]
    tokens: tuple[tuple[int, ...], ...]

    @property
    def lengths(self) -> tuple[int, ...]:
        """How many new tokens each request has."""
        return tuple(len(tokens) for tokens in self.tokens)

    @property
    def shape(self) -> tuple[int, int]:
        """[B, T] of the padded token ids."""
        return len(self.tokens), max(self.lengths)

    def padded(self) -> list[list[int]]:
        """The token ids as B lists of length T, padded with 0 at the end."""
        width = self.shape[1]
        return [[*tokens, *([0] * (width - len(tokens)))] for tokens in self.tokens]


@dataclass(slots=True, eq=False)  # one is itself, however alike
class _Running:
    """A request that has a row. `cached` tokens of it are in the cache, `fed` are to follow."""

    request: Request
    row: int
    fed: tuple[int, ...]
    cached: int = 0
    new: int = 0
    aborted: bool = False


@dataclass(slots=True)
class _Slot:
    running: list[_Running] = field(default_factory=list)
    in_flight: bool = False


class Scheduler:
    """The scheduler of one rank: `slots` microbatches of at most `max_batch` requests, `rows` rows in all."""

    def __init__(self, *, slots: int, max_batch: int, rows: int) -> None:
        for name, value in (("slots", slots), ("max_batch", max_batch), ("rows", rows)):
            if value < 1:
                raise ValueError(f"{name} is {value}; give 1 or more")
        self._slots = [_Slot() for _ in range(slots)]
        self._max_batch = max_batch
        self._rows = rows
        self._free = list(range(rows))
        self._waiting: deque[Request] = deque()
        self._known: set[int] = set()

    @property
    def idle(self) -> bool:
        """Whether nothing waits, runs or is in flight. Then every row is free (checked by `finish`)."""
        return not self._waiting and not any(slot.running or slot.in_flight for slot in self._slots)

    def take(self, arrivals: Arrivals) -> None:
        """Takes in what arrived in this iteration; after a stop nothing that has not started will start."""
        self.add(arrivals.requests)
        self.abort(self._known if arrivals.stop else arrivals.aborts)

    def add(self, requests: Iterable[Request]) -> None:
        """Appends to the queue. Raises ValueError on an id that is in use; see also `check_request`."""
        for request in requests:
            if request.id in self._known:
                raise ValueError(f"request id {request.id} is in use; give each request an id of its own")
            self._known.add(request.id)
            self._waiting.append(request)

    def abort(self, ids: Iterable[int]) -> None:
        """Forgets requests: at once if they wait, else as soon as their batch is back. Unknown ids are ignored."""
        gone = set(ids)  # also a copy: `ids` may be the set that is changed below
        self._known -= {request.id for request in self._waiting if request.id in gone}
        self._waiting = deque(request for request in self._waiting if request.id not in gone)
        for slot in self._slots:
            for item in slot.running:
                item.aborted = item.aborted or item.request.id in gone
            if not slot.in_flight:
                self._release(slot, [item for item in slot.running if item.aborted])

    def form(self, slot: int) -> Batch | None:
        """The batch that this slot runs in this iteration, if any: its own requests, or newly admitted ones."""
        place = self._slots[slot]
        assert not place.in_flight, f"slot {slot} is formed again before its batch came back"
        if not place.running:
            place.running = self._admit()
        if not place.running:
            return None
        place.in_flight = True
        return Batch(
            requests=tuple(item.request.id for item in place.running),
            rows=tuple(item.row for item in place.running),
            starts=tuple(item.cached for item in place.running),
            tokens=tuple(item.fed for item in place.running),
        )

    def finish(self, slot: int, tokens: Sequence[int]) -> list[Token]:
        """Takes the next token of every request of the slot's batch; what is new for the clients comes back."""
        place = self._slots[slot]
        assert place.in_flight, f"slot {slot} is finished, but has no batch in flight"
        place.in_flight = False
        out, done = [], []
        for item, token in zip(place.running, tokens, strict=True):
            item.cached += len(item.fed)
            item.fed = (token,)
            item.new += 1
            reason: Reason | None = None
            if token in item.request.stop:
                reason = "stop"
            elif item.new == item.request.max_new_tokens:
                reason = "length"
            if item.aborted or reason is not None:
                done.append(item)
            if not item.aborted:
                out.append(Token(request=item.request.id, token=token, reason=reason))
        self._release(place, done)
        assert not self.idle or len(self._free) == self._rows, "idle, but not every row of the cache is free"
        return out

    def _admit(self) -> list[_Running]:
        """Takes requests off the queue for one empty slot, leaving the other empty slots their share."""
        empty = sum(not slot.running for slot in self._slots)
        share = -(-len(self._waiting) // empty)
        count = min(share, self._max_batch, len(self._free))
        admitted = []
        for _ in range(count):
            request = self._waiting.popleft()
            admitted.append(_Running(request=request, row=heapq.heappop(self._free), fed=request.prompt))
        return admitted

    def _release(self, place: _Slot, done: list[_Running]) -> None:
        for item in done:
            place.running.remove(item)
            heapq.heappush(self._free, item.row)
            self._known.discard(item.request.id)
