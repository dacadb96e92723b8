"""What a client may ask for with a prompt. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reference.scheduling.request import SamplingSpec

MIN_TEMPERATURE = 1e-5
"""Lower temperatures count as 0: the likeliest token is then all but certain anyhow."""

MAX_TOP_LOGPROBS = 100
"""More likeliest tokens than anybody reads; it bounds the messages that go around the ring."""

MAX_STOPS = 64
"""Stop strings of one request, and stop tokens: each is looked for after every token."""

SEED_BOUND = 2**63
"""Seeds are whole numbers of 64 bits with a sign."""


MAX_WHOLE = 2**31 - 1
MAX_REAL = 1e30
"""Bounds of whole and real numbers that have no narrower one."""


class QueueFull(ValueError):
    """Too many requests wait already. Nothing is wrong with this one: try again later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How to continue a prompt. Raises ValueError on values out of range.

    max_new_tokens: at most so many tokens. min_new_tokens: at least so many; a token that would end the text before
    is not chosen. Stop strings are of text, which cannot be held back so: give one of the two. temperature: 0 takes
    the likeliest token; else tokens are drawn.
    top_k: only from so many likeliest tokens (0: from all). top_p: only from the fewest likeliest tokens that
    have this much of the probability together. seed: the same seed draws the same tokens; by default the engine
    chooses one. stop: strings that end the text; they are cut off. stop_token_ids: tokens that end it, beside
    those of the model. ignore_eos: go on after the model's own. logprobs: log-probability of each new token.
    top_logprobs: also of so many likeliest tokens. prompt_logprobs_from: those of the prompt's tokens from this
    position on.
    """

    max_new_tokens: int = 16
    min_new_tokens: int = 0
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    logprobs: bool = False
    top_logprobs: int = 0
    prompt_logprobs_from: int | None = None

    def __post_init__(self) -> None:
        _whole("max_new_tokens", self.max_new_tokens, least=1)
        _whole("min_new_tokens", self.min_new_tokens)
        if self.min_new_tokens > self.max_new_tokens:
            most = self.max_new_tokens
            raise ValueError(f"min_new_tokens is {self.min_new_tokens}; give max_new_tokens ({most}) at most")
        _whole("top_k", self.top_k)
        _whole("top_logprobs", self.top_logprobs, most=MAX_TOP_LOGPROBS)
        if self.seed is not None:
            _whole("seed", self.seed, least=-SEED_BOUND, most=SEED_BOUND - 1)
        if self.prompt_logprobs_from is not None:
            _whole("prompt_logprobs_from", self.prompt_logprobs_from)
        if not _real(self.temperature) or self.temperature < 0:
            raise ValueError(f"temperature is {self.temperature}; give 0 for the likeliest token, or more")
        if not _real(self.top_p) or not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}; give more than 0, and 1 at most")
        if self.top_logprobs and not self.logprobs and self.prompt_logprobs_from is None:
            raise ValueError(f"top_logprobs is {self.top_logprobs} without logprobs; set logprobs too")
        object.__setattr__(self, "stop", (self.stop,) if isinstance(self.stop, str) else tuple(self.stop))
        object.__setattr__(self, "stop_token_ids", tuple(self.stop_token_ids))
        for name in ("stop", "stop_token_ids"):
            count = len(getattr(self, name))
            if count > MAX_STOPS:
                raise ValueError(f"{name} has {count} items; give {MAX_STOPS} at most")
        for text in self.stop:
            if not isinstance(text, str) or not text:
                raise ValueError(f"stop is {text!r}; give texts of one character or more")
            if self.min_new_tokens:
                raise ValueError(f"min_new_tokens is {self.min_new_tokens}, and stop {text!r}; give one of the two")
        for token in self.stop_token_ids:
            _whole("stop_token_ids", token)

    def spec(self, seed: int) -> SamplingSpec:
        """How the pipeline shall choose tokens; `seed` is for a client that gave none."""
        if self.temperature < MIN_TEMPERATURE:
            return SamplingSpec()
        return SamplingSpec(
            temperature=float(self.temperature),
            top_k=self.top_k,
            top_p=float(self.top_p),
            seed=seed if self.seed is None else self.seed,
        )


def _whole(name: str, value: Any, *, least: int = 0, most: int = MAX_WHOLE) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}; give a whole number")
    if not least <= value <= most:
        raise ValueError(f"{name} is {value}; give {least} {'or more' if most == MAX_WHOLE > value else f'to {most}'}")


def _real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -MAX_REAL < value < MAX_REAL
