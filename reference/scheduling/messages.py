"""How requests and new tokens travel between processes: plain data as JSON, never pickled. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from reference.scheduling.request import (
    FinishReason,
    NewToken,
    Request,
    SamplingSpec,
    SchedulerInput,
    TokenLogprob,
    TopLogprobs,
)

STOP = b"stop"
"""The first line of a message after which nothing more starts."""


def encode_input(new: SchedulerInput) -> bytes:
    """A message of lines: `STOP` if so, then the rest as JSON; no bytes at all where nothing is new."""
    lines = [STOP] if new.stop else []
    if new.requests or new.aborts:
        rest = {"requests": [asdict(request) for request in new.requests], "aborts": new.aborts}
        lines.append(json.dumps(rest, separators=(",", ":")).encode())
    return b"\n".join(lines)


def join_inputs(messages: Iterable[bytes]) -> bytes:
    """Several messages as one. Requests keep their order."""
    parts = [message for message in messages if message]
    stops = [message for message in parts if says_stop(message)]
    return b"\n".join([*stops, *(message for message in parts if not says_stop(message))])


def says_stop(message: bytes) -> bool:
    """Whether the message has a stop, without reading the rest."""
    return message.startswith(STOP)


def decode_input(message: bytes) -> SchedulerInput:
    """The inverse of `encode_input`, also of joined messages; ValueError on anything else."""
    return sum(map(_line, message.splitlines()), SchedulerInput())


def encode_tokens(tokens: Sequence[NewToken]) -> list[Sequence[Any]]:
    """Tokens as plain JSON types: the values of each field, and only of the first three where that says it all."""
    if not tokens:
        return []
    requests, ids, reasons, logprobs, tops, prompts = zip(*tokens, strict=True)
    if logprobs.count(None) == len(tokens) and not any(prompts):
        return [requests, ids, reasons]
    scored = [[[item.token, item.logprob, item.top] for item in prompt] for prompt in prompts]
    return [requests, ids, reasons, logprobs, tops, scored]


def decode_tokens(data: Sequence[Sequence[Any]]) -> list[NewToken]:
    """The inverse of `encode_tokens`."""
    return [_token(*item) for item in zip(*data, strict=True)]


def _line(line: bytes) -> SchedulerInput:
    if line == STOP:
        return SchedulerInput(stop=True)
    values = _fields(SchedulerInput, json.loads(line), but="stop")
    return SchedulerInput(
        requests=tuple(_request(item) for item in values.get("requests", ())), aborts=tuple(values.get("aborts", ()))
    )


def _request(data: Any) -> Request:
    values = _fields(Request, data)
    values["prompt"], values["stop"] = tuple(values["prompt"]), tuple(values.get("stop", ()))
    values["sampling"] = SamplingSpec(**_fields(SamplingSpec, values.get("sampling", {})))
    return Request(**values)


def _token(
    request: int, token: int, reason: FinishReason | None, logprob: float | None = None, top: Any = (), prompt: Any = ()
) -> NewToken:
    scored = tuple([TokenLogprob(token=number, logprob=logprob, top=_top(best)) for number, logprob, best in prompt])
    return NewToken(request, token, reason, logprob, _top(top), scored)


def _top(data: Iterable[tuple[int, float]]) -> TopLogprobs:
    return tuple([(token, logprob) for token, logprob in data])


def _fields(cls: type, data: Any, *, but: str = "") -> dict[str, Any]:
    known = {field.name for field in fields(cls)} - {but}
    if not isinstance(data, Mapping) or not set(data) <= known:
        raise ValueError(f"{data!r} is no {cls.__name__}; its fields are {', '.join(sorted(known))}")
    return dict(data)
