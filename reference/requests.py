"""What a client asks for, and how it travels: plain data, sent down the chain of ranks as JSON, never pickled."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

Reason = Literal["stop", "length"]
"""Why a request is finished: it came upon one of its stop tokens, or it has all the tokens it asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One prompt to continue.

    id: unique among the requests in flight. prompt: token ids. max_new_tokens: at most so many tokens come
    back. stop: token ids after which the request is finished (the stop token itself comes back too).
    """

    id: int
    prompt: tuple[int, ...]
    max_new_tokens: int
    stop: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One new token of a request. `reason` is None until the last one."""

    request: int
    token: int
    reason: Reason | None = None


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


def encode_tokens(tokens: Iterable[Token]) -> list[list[Any]]:
    """Tokens as plain JSON types, one short list each."""
    return [[item.request, item.token, item.reason] for item in tokens]


def decode_tokens(data: Iterable[list[Any]]) -> list[Token]:
    """The inverse of `encode_tokens`."""
    return [Token(request=request, token=token, reason=reason) for request, token, reason in data]


def check_request(request: Request, *, max_len: int, vocabulary: int) -> None:
    """Raises ValueError where the pipeline could not serve the request; nothing else may enter it."""
    if not request.prompt:
        raise ValueError("the prompt is empty; give at least one token")
    if request.max_new_tokens < 1:
        raise ValueError(f"max_new_tokens is {request.max_new_tokens}; give 1 or more")
    length = len(request.prompt) + request.max_new_tokens
    if length > max_len:
        raise ValueError(
            f"a prompt of {len(request.prompt)} tokens and {request.max_new_tokens} new ones make {length}, "
            f"more than the cache holds ({max_len}); ask for fewer, or raise max_len"
        )
    wrong = [token for token in request.prompt if not 0 <= token < vocabulary]
    if wrong:
        raise ValueError(f"token {wrong[0]} of the prompt is not in the vocabulary (0 to {vocabulary - 1})")


def _request(data: Any) -> Request:
    given = _fields(Request, data)
    given["prompt"], given["stop"] = tuple(given["prompt"]), tuple(given.get("stop", ()))
    return Request(**given)


def _fields(cls: type, data: Any) -> dict[str, Any]:
    known = {field.name for field in fields(cls)}
    if not isinstance(data, Mapping) or not set(data) <= known:
        raise ValueError(f"{data!r} is no {cls.__name__}; its fields are {', '.join(sorted(known))}")
    return dict(data)
