"""What the pipeline is asked for and gives back, as plain data. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

FinishReason = Literal["stop", "length", "abort"]
"""Why a request is finished: it came upon one of its stops, it has all the tokens it asked for, or nobody waits for
it any more."""

TopLogprobs = tuple[tuple[int, float], ...]
"""The likeliest tokens with their log-probabilities, the likeliest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingSpec:
    """How the next token is chosen: the likeliest at temperature 0, else drawn from softmax(logits / temperature)
    within the `top_k` likeliest tokens (0: all), and of these within the fewest that have `top_p` of the
    probability. The draw depends on `seed` and the token's position, and on nothing else."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0


GREEDY = SamplingSpec()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One prompt to continue.

    id: unique among the requests in flight. prompt: token ids. max_new_tokens: at most so many tokens come
    back. stop: token ids after which the request is finished (the stop token itself comes back too).
    min_new_tokens: none of these is chosen among so many first new tokens.
    logprobs: whether each new token comes with its log-probability. prompt_logprobs_from: those of the prompt
    from this position on come too, with the first new token. top_logprobs: how many of the likeliest tokens
    come with every log-probability.
    """

    id: int
    prompt: tuple[int, ...]
    max_new_tokens: int
    stop: tuple[int, ...] = ()
    min_new_tokens: int = 0
    sampling: SamplingSpec = GREEDY
    logprobs: bool = False
    top_logprobs: int = 0
    prompt_logprobs_from: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """One token of a prompt and its log-probability, given those before it. The first token of all has none."""

    token: int
    logprob: float | None
    top: TopLogprobs = ()


class NewToken(NamedTuple):
    """One new token of a request. `reason` is None until the last one.

    logprob, top: of the model itself, before temperature, top-k and top-p, where the request wants them.
    prompt_logprobs: comes with the first token, one item for each position that the request wants.
    """

    request: int
    token: int
    reason: FinishReason | None = None
    logprob: float | None = None
    top: TopLogprobs = ()
    prompt_logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerInput:
    """What reaches the pipeline in one iteration. The same arrivals reach every rank in the same iteration.

    aborts: ids of requests that nobody waits for any more. stop: finish what is in flight, then end.
    """

    requests: tuple[Request, ...] = ()
    aborts: tuple[int, ...] = ()
    stop: bool = False

    def __add__(self, later: SchedulerInput) -> SchedulerInput:
        return SchedulerInput(
            requests=self.requests + later.requests,
            aborts=self.aborts + later.aborts,
            stop=self.stop or later.stop,
        )
