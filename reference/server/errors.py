"""Whatever goes wrong over HTTP, said in one way: OpenAI's JSON object with one clear message."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reference.scheduling.sampling_params import QueueFull

CLIENT_CLOSED = 499
"""Nobody reads it: the client has gone. The number is what nginx logs for it."""

UNPARSED = "There was an error parsing the body"
"""The framework's word, where Python's reader of JSON fails otherwise than by its own exception."""

UNREADABLE = "the body is not JSON that can be read: it is not UTF-8, is nested too deeply, or holds a number too long"


class ErrorDetail(BaseModel):
    """What is wrong, and what to do about it. `code` is the HTTP status."""

    message: str
    type: str
    param: str | None = None
    code: int | str | None = None


class ErrorBody(BaseModel):
    """The body of every answer with status 400 or more."""

    error: ErrorDetail


DOCUMENTED: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {}}},  # beside JSON, which the framework adds
    400: {"model": ErrorBody, "description": "The request cannot be served as it stands."},
    413: {"model": ErrorBody, "description": "The body is too large."},
    429: {"model": ErrorBody, "description": "Too many requests wait already."},
    503: {"model": ErrorBody, "description": "The pipeline is down, or the server is shutting down."},
}
"""What a route that serves tokens may answer."""


class ClientDisconnected(Exception):
    """Whoever asked has closed the connection."""


class ServerShutdown(RuntimeError):
    """The server ends before the response does."""


class NoSuchModel(ValueError):
    """The client names a model that is not served here."""


def describe(error: Exception) -> tuple[int, dict[str, Any]]:
    """HTTP status and body of an error."""
    match error:
        case NoSuchModel():
            return 404, error_body(404, str(error), "invalid_request_error", "model_not_found")
        case QueueFull():
            return 429, error_body(429, str(error), "rate_limit_error")
        case ValueError():
            return 400, error_body(400, str(error), "invalid_request_error")
        case ClientDisconnected():
            return CLIENT_CLOSED, error_body(CLIENT_CLOSED, "the client closed the connection", "client_error")
    # the first line says what broke; the table of all ranks is on the server's standard error
    return 503, error_body(503, (str(error).splitlines() or [type(error).__name__])[0], "service_unavailable")


def error_body(status: int, message: str, kind: str, code: str | None = None) -> dict[str, Any]:
    """OpenAI's object, on one line."""
    return {"error": {"message": " ".join(message.split()), "type": kind, "param": None, "code": code or status}}


def install(app: FastAPI, max_body: int) -> None:
    """Makes the app answer every error in this form, that of a body of more than `max_body` bytes included."""

    def known(_: Request, error: Exception) -> Response:
        status, content = describe(error)
        return AsciiJSONResponse(content, status, headers={"Retry-After": "1"} if status == 429 else None)

    def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return AsciiJSONResponse(error_body(400, _first(error), "invalid_request_error"), 400)

    def routing(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        said = UNREADABLE if error.detail == UNPARSED else str(error.detail)
        return AsciiJSONResponse(
            error_body(error.status_code, said, "invalid_request_error"), error.status_code, error.headers
        )

    for kind in (ValueError, RuntimeError, ClientDisconnected):
        app.add_exception_handler(kind, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, routing)
    app.add_middleware(BodyLimit, most=max_body)


class BodyLimit:
    """Refuses a body that says that it is too large, or turns out to be, when the app begins to read it."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        seen = int(declared) if declared.isdecimal() and int(declared) > self._most else 0

        async def limited() -> Message:
            nonlocal seen
            message = {"type": "http.request"} if seen > self._most else await receive()
            seen += len(message.get("body", b""))
            if message["type"] == "http.request" and seen > self._most:
                raise HTTPException(413, f"the body has more than {self._most} bytes; send less at once")
            return message

        await self._app(scope, limited, send)


class AsciiJSONResponse(JSONResponse):
    """JSON in ASCII: a message may quote half a surrogate pair, which has no UTF-8."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, separators=(",", ":")).encode("ascii")


def _first(error: RequestValidationError) -> str:
    """The first complaint; of a union's branches, of a list too long or the one that got furthest into the data."""
    complaints = error.errors()
    if not complaints:
        return "the request is not valid"
    worst = max(complaints, key=lambda item: (item["type"] == "too_long", len(item["loc"])))
    path = [str(part) for part in worst["loc"][1:]]  # without "body"
    # without the names of a union's types, such as SamplingParams, str and list[str]
    where = ".".join(
        part for part in path if part.isdecimal() or (part.islower() and part.isidentifier() and part != "str")
    )
    if worst["type"] == "json_invalid":
        return f"the body is not JSON: {worst['ctx']['error']} at character {where}"
    if worst["type"] == "value_error":
        return str(worst["ctx"]["error"])
    if not where:
        return f"{worst['msg']}; send a JSON object, with the header Content-Type: application/json"
    return f"{where}: {worst['msg']}"
