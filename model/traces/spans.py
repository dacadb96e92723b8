"""What a rank was in, from when to when: the common form of simulated and of recorded runs on a time axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SpanKind = Literal["compute", "transfer", "wait", "send", "receive", "loop", "bubble", "idle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A rank in one operation, from `begin` to `end` in ticks; `end` is None of one that it never leaves.

    kind: `send`, `receive` or, of both at once, `transfer` for as long as the message is on the wire or handled,
    `wait` before that. lane: 0 is the host, others are the queues of its library. `simulated` makes spans of these
    kinds and of `compute`; `recorded` of all, also `loop`, `bubble` and `idle`.
    """

    rank: int
    lane: int
    kind: SpanKind
    op: str
    begin: int
    end: int | None
