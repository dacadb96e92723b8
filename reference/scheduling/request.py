"""What the pipeline is asked for and gives back, and how it travels: plain data as JSON, never pickled."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from reference.llama.config import LlamaConfig

Reason = Literal["stop", "length", "abort"]
"""Why a request is finished: it came upon one of its stops, it has all the tokens it asked for, or nobody waits for
it any more."""

Top = tuple[tuple[int, float], ...]
"""The likeliest tokens with their log-probabilities, the likeliest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is chosen: the likeliest at temperature 0, else drawn from softmax(logits / temperature)
    within the `top_k` likeliest tokens (0: all), and of these within the fewest that have `top_p` of the
    probability. The draw depends on `seed` and the token's position, and on nothing else."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0


GREEDY = Sampling()


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
    sampling: Sampling = GREEDY
    logprobs: bool = False
    top_logprobs: int = 0
    prompt_logprobs_from: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One token of a prompt and its log-probability, given those before it. The first token of all has none."""

    token: int
    logprob: float | None
    top: Top = ()


class Token(NamedTuple):
    """One new token of a request. `reason` is None until the last one.

    logprob, top: of the model itself, before temperature, top-k and top-p, where the request wants them.
    prompt_logprobs: comes with the first token, one item for each position that the request wants.
    """

    request: int
    token: int
    reason: Reason | None = None
    logprob: float | None = None
    top: Top = ()
    prompt_logprobs: tuple[Scored, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """What reaches the pipeline in one iteration. The same arrivals reach every rank in the same iteration.

    aborts: ids of requests that nobody waits for any more. stop: finish what is in flight, then end.
    """

    requests: tuple[Request, ...] = ()
    aborts: tuple[int, ...] = ()
    stop: bool = False

    def __add__(self, later: Arrivals) -> Arrivals:
        return Arrivals(
            requests=self.requests + later.requests,
            aborts=self.aborts + later.aborts,
            stop=self.stop or later.stop,
        )

    def encode(self) -> bytes:
        """JSON; no bytes at all where nothing arrived, which is the common case."""
        return b"" if self == Arrivals() else json.dumps(asdict(self), separators=(",", ":")).encode()


def decode_arrivals(data: bytes) -> Arrivals:
    """The inverse of `Arrivals.encode`; ValueError on anything else."""
    if not data:
        return Arrivals()
    given = _fields(Arrivals, json.loads(data))
    given["requests"] = tuple(_request(item) for item in given.get("requests", ()))
    given["aborts"] = tuple(given.get("aborts", ()))
    return Arrivals(**given)


def encode_tokens(tokens: Sequence[Token]) -> list[Sequence[Any]]:
    """Tokens as plain JSON types: the values of each field, and only of the first three where that says it all."""
    if not tokens:
        return []
    requests, ids, reasons, logprobs, tops, prompts = zip(*tokens, strict=True)
    if logprobs.count(None) == len(tokens) and not any(prompts):
        return [requests, ids, reasons]
    scored = [[[item.token, item.logprob, item.top] for item in prompt] for prompt in prompts]
    return [requests, ids, reasons, logprobs, tops, scored]


def decode_tokens(data: Sequence[Sequence[Any]]) -> list[Token]:
    """The inverse of `encode_tokens`."""
    return [_token(*item) for item in zip(*data, strict=True)]


def check_request(request: Request, *, max_len: int, shape: LlamaConfig) -> None:
    """Raises ValueError where a pipeline of this shape could not serve the request; nothing else may enter it."""
    vocabulary, most = shape.vocab_size, shape.max_position
    if not request.prompt:
        raise ValueError("the prompt is empty; give at least one token")
    if request.max_new_tokens < 1:
        raise ValueError(f"max_new_tokens is {request.max_new_tokens}; give 1 or more")
    length = len(request.prompt) + request.max_new_tokens
    if length > max_len:
        raise ValueError(
            f"a prompt of {len(request.prompt)} tokens and {request.max_new_tokens} new ones make {length}, "
            f"more than the cache holds ({max_len}); ask for fewer"
            + (", or raise max_len" if max_len < most else f": the model has {most} positions")
        )
    if min(request.prompt) < 0 or max(request.prompt) >= vocabulary:
        wrong = next(token for token in request.prompt if not 0 <= token < vocabulary)
        raise ValueError(f"token {wrong} of the prompt is not in the vocabulary (0 to {vocabulary - 1})")
    if request.top_logprobs > vocabulary:
        raise ValueError(
            f"top_logprobs is {request.top_logprobs}; the vocabulary has {vocabulary} tokens, ask for fewer"
        )
    if request.prompt_logprobs_from is not None and request.prompt_logprobs_from >= len(request.prompt):
        raise ValueError(
            f"log-probabilities are asked for from position {request.prompt_logprobs_from} of the prompt on, "
            f"which has {len(request.prompt)} tokens; give 0 to {len(request.prompt) - 1}"
        )


def _request(data: Any) -> Request:
    given = _fields(Request, data)
    given["prompt"], given["stop"] = tuple(given["prompt"]), tuple(given.get("stop", ()))
    given["sampling"] = Sampling(**_fields(Sampling, given.get("sampling", {})))
    return Request(**given)


def _token(
    request: int, token: int, reason: Reason | None, logprob: float | None = None, top: Any = (), prompt: Any = ()
) -> Token:
    scored = tuple([Scored(token=number, logprob=given, top=_top(best)) for number, given, best in prompt])
    return Token(request, token, reason, logprob, _top(top), scored)


def _top(data: Iterable[tuple[int, float]]) -> Top:
    return tuple([(token, logprob) for token, logprob in data])


def _fields(cls: type, data: Any) -> dict[str, Any]:
    known = {field.name for field in fields(cls)}
    if not isinstance(data, Mapping) or not set(data) <= known:
        raise ValueError(f"{data!r} is no {cls.__name__}; its fields are {', '.join(sorted(known))}")
    return dict(data)
