"""What the engine gives to its caller: new tokens with their text, and figures of itself. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from reference.scheduling.request import FinishReason, TokenLogprob, TopLogprobs


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOutput:
    """One new token of prompt number `index`.

    text: what it adds to the text, often nothing until a character is whole, or until it is certain that no stop
    string begins there. elapsed: seconds from the call to the token's arrival at the engine. reason: None until the
    prompt's last token. logprob, top: where they were asked for (see `reference.scheduling.request.NewToken`).
    prompt_logprobs: with the first token, likewise. prompt_tokens: length of the prompt. num_tokens: how many new
    tokens the prompt has by now, this one included.
    """

    index: int
    token: int
    text: str
    elapsed: float
    reason: FinishReason | None = None
    logprob: float | None = None
    top: TopLogprobs = ()
    prompt_logprobs: tuple[TokenLogprob, ...] = ()
    prompt_tokens: int = 0
    num_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """How the engine is. alive: whether it takes requests. failure: why it does not, if it broke.

    idle_seconds: seconds for which some rank has made no progress; also an idle pipeline makes some all the time.
    decode_rate: tokens per second at the last decode log (see `reference.engine.throughput`), 0 before the first.
    running: requests that are being served. waiting: those beyond what the microbatches and the cache hold.
    The others count since the start; a request counts when it is taken, its prompt too.
    """

    alive: bool
    failure: str = ""
    idle_seconds: float = 0.0
    decode_rate: float = 0.0
    running: int = 0
    waiting: int = 0
    requests: int = 0
    aborted: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0
