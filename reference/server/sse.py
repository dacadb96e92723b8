"""Server-sent events: the answer to a request with `"stream": true`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from fastapi.responses import StreamingResponse

from reference.engine.outputs import Output
from reference.server.errors import describe
from reference.server.streaming import Answer, ClientGone

DONE = "data: [DONE]\n\n"
"""The last event of every stream, as SGLang and OpenAI have it."""


def event(data: Any) -> str:
    """One event."""
    return f"data: {json.dumps(data, separators=(',', ':'))}\n\n"


def stream(
    answer: Answer,
    show: Callable[[Output], Iterable[Any]],
    *,
    before: Iterable[Any] = (),
    after: Callable[[], Iterable[Any]] = tuple,
) -> StreamingResponse:
    """The events of an answer as it comes. An error after the first event is the last one before the end mark."""

    async def body() -> AsyncIterator[str]:
        try:
            begun = "".join(map(event, before))
            if begun:
                yield begun
            async for outputs in answer:
                events = "".join(event(item) for output in outputs for item in show(output))
                if events:
                    yield events
            ended = "".join(map(event, after()))
        except ClientGone:
            return
        except Exception as error:
            ended = event(describe(error)[1])
        yield ended + DONE

    return StreamingResponse(body(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
