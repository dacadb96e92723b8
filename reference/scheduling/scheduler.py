"""Who runs next: requests, microbatch slots, rows of the KV cache, admission. Imports no torch.

Every rank runs a scheduler of its own and they never talk. They agree because they are deterministic and are
told the same things in the same iterations: what arrived (it travels down the chain with its iteration) and
which tokens came back (they travel around the ring). So a rank knows the shape of every message before it
arrives.

The life of a request: `add` puts it in the queue; `schedule` of a slot with room admits it and gives it a row; that
slot's next batches prefill it, chunk by chunk; `process_output` of the last chunk gives its first token; each later
decode gives one more, beside whoever else is in the slot by then; the `process_output` that sees a stop token, or the
last token asked for, frees its row.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from reference.scheduling.batch import NO_LOGPROBS, SCORED_CHUNK, BatchLogprobs, ScheduleBatch, next_chunk
from reference.scheduling.request import FinishReason, NewToken, Request, SchedulerInput, TokenLogprob, TopLogprobs

Fill = Literal["spread", "pack"]

_NO_LOGPROB: tuple[float | None, TopLogprobs] = (None, ())


@dataclass(slots=True, eq=False, kw_only=True)  # one is itself, however alike
class _Running:
    """A request that has a row. `cached` tokens of it are in the cache; `token` follows once the prompt is."""

    request: Request
    row: int
    slot: int
    cached: int = 0
    token: int = 0
    new: int = 0
    aborted: bool = False
    scores: list[TokenLogprob] = field(default_factory=list)


@dataclass(slots=True)
class _Slot:
    prompts: list[_Running] = field(default_factory=list)  # not yet prefilled to the end, in the order of admission
    decoding: list[_Running] = field(default_factory=list)  # in the order of their rows
    in_flight: list[_Running] = field(default_factory=list)
    batch: ScheduleBatch | None = None
    prefilled: bool = False  # whether the last batch was a prefill: then decoding has its turn
    planned_ahead: bool = False  # whether the next batch is the decode step of `peek_next_decode`

    @property
    def load(self) -> int:
        return len(self.prompts) + len(self.decoding)


class Scheduler:
    """The scheduler of one rank: `slots` microbatches of at most `max_batch` requests, `rows` rows in all.

    chunk: prompt tokens in one batch, padding included. fill: whether a slot admits its even share of those who
    wait (spread), or all that it has room for (pack).
    """

    def __init__(self, *, slots: int, max_batch: int, rows: int, chunk: int = 2048, fill: Fill = "spread") -> None:
        for name, value in (("slots", slots), ("max_batch", max_batch), ("rows", rows), ("chunk", chunk)):
            if value < 1:
                raise ValueError(f"{name} is {value}; give 1 or more")
        self._slots = [_Slot() for _ in range(slots)]
        self._max_batch, self._rows, self._chunk, self._fill = max_batch, rows, chunk, fill
        self._free = list(range(rows))  # sorted
        self._waiting: OrderedDict[int, Request] = OrderedDict()
        self._running: dict[int, _Running] = {}

    @property
    def idle(self) -> bool:
        """Whether nothing waits, runs or is in flight. Then every row is free: see `_check_conservation`."""
        return not self._waiting and not self._running

    def apply(self, new: SchedulerInput) -> None:
        """Takes in what arrived in this iteration; after a stop nothing that has not started will start."""
        self.add(new.requests)
        self.abort([*self._waiting, *self._running] if new.stop else new.aborts)

    def add(self, requests: Iterable[Request]) -> None:
        """Appends to the queue. Raises ValueError on an id that is in use; see also `check_request`."""
        for request in requests:
            if request.id in self._waiting or request.id in self._running:
                raise ValueError(f"request id {request.id} is in use; give each request an id of its own")
            self._waiting[request.id] = request

    def abort(self, ids: Sequence[int]) -> None:
        """Forgets requests, unknown ids aside: at once, or where one is in flight as soon as its batch is back."""
        for number in ids:
            item = self._running.get(number)
            if item is None:
                self._waiting.pop(number, None)
            elif item in self._slots[item.slot].in_flight:
                item.aborted = True
            else:
                self._release(item)
        if ids:
            self._check_conservation()

    def schedule(self, slot: int) -> ScheduleBatch | None:
        """The batch that this slot runs in this iteration, if any: chunks of prompts, or one more token of the others.

        Where it has both they take turns, so neither waits for long.
        """
        slot_state = self._slots[slot]
        assert slot_state.batch is None, f"slot {slot} is formed again before its batch came back"
        planned_ahead, slot_state.planned_ahead = slot_state.planned_ahead, False
        if planned_ahead and slot_state.decoding:
            self._decode(slot_state, planned_ahead=True)
            return slot_state.batch
        if self._waiting and self._free:
            self._admit(slot)
        if slot_state.prompts and not (slot_state.decoding and slot_state.prefilled):
            self._prefill(slot_state)
        elif slot_state.decoding:
            self._decode(slot_state)
        return slot_state.batch

    def peek_next_decode(self, slot: int = 0) -> ScheduleBatch | None:
        """The decode step that follows the one in flight, as far as it is known now; its tokens mean nothing.

        The slot's next batch then is of those of these requests that do not end before, if any. None where a prefill
        is in flight or has its turn next, or nobody has more than one token to come.
        """
        slot_state = self._slots[slot]
        assert slot_state.batch is not None, f"slot {slot} has no batch in flight"
        joins = self._waiting and self._free and slot_state.load < self._max_batch
        items = [
            item for item in slot_state.in_flight if item.new + 1 < item.request.max_new_tokens and not item.aborted
        ]
        if slot_state.prefilled or slot_state.prompts or joins or not items:
            return None
        slot_state.planned_ahead = True
        return _batch(items, [(0,)] * len(items), [item.cached + 1 for item in items], planned_ahead=True)

    def process_output(self, slot: int, tokens: Sequence[int], scores: BatchLogprobs = NO_LOGPROBS) -> list[NewToken]:
        """Takes the next token of every request of the slot's batch; what is new for the clients comes back.

        What `tokens` has for a chunk that does not end its prompt means nothing.
        """
        slot_state = self._slots[slot]
        batch, items = slot_state.batch, slot_state.in_flight
        assert batch is not None, f"slot {slot} is finished, but has no batch in flight"
        slot_state.batch, slot_state.in_flight = None, []
        out: list[NewToken] = []
        for at, (item, length, token) in enumerate(zip(items, batch.lengths, tokens, strict=True)):
            request = item.request
            item.cached += length
            if item.aborted:
                self._release(item)
                continue
            if batch.scored:
                item.scores += scores.prompt[at]
            prompt: tuple[TokenLogprob, ...] = ()
            if item.new == 0:
                if item.cached < len(request.prompt):
                    continue
                slot_state.prompts.remove(item)
                insort(slot_state.decoding, item, key=_row)
                prompt = _scored(item)
            item.token = token
            item.new += 1
            reason: FinishReason | None = None
            if token in request.stop:
                reason = "stop"
            elif item.new == request.max_new_tokens:
                reason = "length"
            if reason is not None:
                self._release(item)
            logprob, top = scores.output.get(at, _NO_LOGPROB) if scores.output else _NO_LOGPROB
            out.append(NewToken(request.id, token, reason, logprob, top, prompt))
        self._check_conservation()
        return out

    def _admit(self, slot: int) -> None:
        slot_state = self._slots[slot]
        waiting = min(len(self._waiting), len(self._free))
        count = min(waiting, self._max_batch - slot_state.load)
        if self._fill == "spread" and len(self._slots) > 1:
            count = min(count, _water_fill([other.load for other in self._slots], waiting) - slot_state.load)
        home = slot * self._rows // len(self._slots)  # slots keep to rows of their own: reading neighbours is cheaper
        for _ in range(count):
            number, request = self._waiting.popitem(last=False)
            at = bisect_left(self._free, home)
            item = _Running(request=request, row=self._free.pop(at if at < len(self._free) else 0), slot=slot)
            self._running[number] = item
            slot_state.prompts.append(item)

    def _prefill(self, slot_state: _Slot) -> None:
        """First come, first served: whoever still fits beside the first when padded to the same width."""
        chosen: list[tuple[_Running, int]] = []
        width, scored = 0, False
        for item in slot_state.prompts:
            rest, wants = next_chunk(item.request, item.cached)
            limit = min(self._chunk, SCORED_CHUNK) if wants else self._chunk
            if chosen and (wants != scored or (len(chosen) + 1) * max(width, rest) > limit):
                break
            length = min(rest, limit)
            width, scored = max(width, length), wants
            chosen.append((item, length))
        chosen.sort(key=lambda pair: pair[0].row)
        slot_state.prefilled = True
        self._launch(
            slot_state,
            [item for item, _ in chosen],
            [item.request.prompt[item.cached : item.cached + length] for item, length in chosen],
            scored=scored,
        )

    def _decode(self, slot_state: _Slot, planned_ahead: bool = False) -> None:
        slot_state.prefilled = False
        items = slot_state.decoding.copy()
        self._launch(slot_state, items, [(item.token,) for item in items], planned_ahead=planned_ahead)

    def _launch(self, slot_state: _Slot, items: list[_Running], tokens: list[tuple[int, ...]], **kind: bool) -> None:
        slot_state.in_flight = items
        slot_state.batch = _batch(items, tokens, [item.cached for item in items], **kind)

    def _release(self, item: _Running) -> None:
        slot_state = self._slots[item.slot]
        (slot_state.decoding if item.new else slot_state.prompts).remove(item)
        insort(self._free, item.row)
        del self._running[item.request.id]

    def _check_conservation(self) -> None:
        if self.idle:
            assert self._free == list(range(self._rows)), f"idle, but not every row of the cache is free: {self._free}"
            assert not any(slot.load or slot.batch for slot in self._slots), "idle, but a slot is not empty"


def _batch(
    items: Sequence[_Running], tokens: Sequence[tuple[int, ...]], starts: Sequence[int], **kind: bool
) -> ScheduleBatch:
    """kind: as `ScheduleBatch` has it."""
    return ScheduleBatch(
        requests=tuple([item.request for item in items]),
        rows=tuple([item.row for item in items]),
        starts=tuple(starts),
        tokens=tuple(tokens),
        lengths=tuple([len(some) for some in tokens]),
        **kind,
    )


def _row(item: _Running) -> int:
    return item.row


def _scored(item: _Running) -> tuple[TokenLogprob, ...]:
    """What comes with the first new token: the log-probabilities of the prompt, where the request wants them."""
    request = item.request
    if request.prompt_logprobs_from is None:
        return ()
    first = [TokenLogprob(token=request.prompt[0], logprob=None)] if request.prompt_logprobs_from == 0 else []
    return (*first, *item.scores)


def _water_fill(loads: Iterable[int], more: int) -> int:
    """The height to which `more` fill the lowest of the loads, rounded up."""
    heights = sorted(loads)
    below = more
    for count, height in enumerate(heights, 1):
        below += height
        level = -(-below // count)
        if count == len(heights) or level <= heights[count]:
            return level
    raise AssertionError("there is a slot")
