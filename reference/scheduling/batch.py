"""One microbatch: what every rank knows of it before any message comes. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from reference.scheduling.request import Request, TokenLogprob, TopLogprobs

SCORED_CHUNK = 256
"""Prompt tokens in one batch, padding included, when the prompt's log-probabilities are wanted: the logits of so
many positions are in memory at once, half a megabyte each for a vocabulary of 128 thousand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleBatch:
    """For each of its B requests the row of the cache, and the tokens to be put there next.

    starts: how many tokens the row holds already. tokens: per request, those that follow: a chunk of the prompt in
    a prefill, one in a decode. lengths: how many these are. scored: log-probabilities of prompt tokens are wanted,
    of every request and position. planned_ahead: the scheduler has planned this decode step one step earlier.
    """

    requests: tuple[Request, ...]
    rows: tuple[int, ...]
    starts: tuple[int, ...]
    tokens: tuple[tuple[int, ...], ...]
    lengths: tuple[int, ...]
    scored: bool = False
    planned_ahead: bool = False

    @property
    def ids(self) -> tuple[int, ...]:
        """Of the requests."""
        return tuple(request.id for request in self.requests)

    @property
    def ends(self) -> tuple[int, ...]:
        """How many tokens each row will hold. The next token's position, if the prompt ends here."""
        return tuple(start + length for start, length in zip(self.starts, self.lengths, strict=True))

    @property
    def shape(self) -> tuple[int, int]:
        """[B, T] of the padded token ids."""
        return len(self.tokens), max(self.lengths)

    def padded(self) -> Sequence[Sequence[int]]:
        """The token ids as B sequences of length T, padded with 0 at the end."""
        width = max(self.lengths)
        if min(self.lengths) == width:
            return self.tokens
        return [[*tokens, *([0] * (width - len(tokens)))] for tokens in self.tokens]

    def targets(self, at: int) -> tuple[int, ...]:
        """The prompt tokens of request number `at` that logits of this batch predict."""
        return self.requests[at].prompt[self.starts[at] + 1 : self.starts[at] + self.lengths[at] + 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLogprobs:
    """Log-probabilities that came with a batch's tokens, by number of the request in the batch.

    output: of the new token, and the likeliest ones, for those who want it. prompt: of `ScheduleBatch.targets`, for all
    in a scored batch.
    """

    output: Mapping[int, tuple[float, TopLogprobs]] = field(default_factory=dict)
    prompt: Sequence[Sequence[TokenLogprob]] = ()


NO_LOGPROBS = BatchLogprobs()


def next_chunk(request: Request, cached: int) -> tuple[int, bool]:
    """How many tokens of the prompt may follow the `cached` ones in one batch, and whether that batch is scored.

    A position's logits predict the token after it, so those of the last position score nothing.
    """
    rest = len(request.prompt) - cached
    if request.prompt_logprobs_from is None:
        return rest, False
    first = max(request.prompt_logprobs_from, 1) - 1
    if first >= len(request.prompt) - 1:
        return rest, False
    return (rest, True) if cached >= first else (first - cached, False)
