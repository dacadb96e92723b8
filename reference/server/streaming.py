"""From the engine's thread to the event loop of the web server: one `ResponseStream` for each HTTP request, and the
server-sent events that it becomes for a client that asks for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from reference.engine.outputs import TokenOutput
from reference.scheduling.sampling_params import QueueFull, SamplingParams
from reference.server.errors import ClientDisconnected, ServerShutdown, describe

if TYPE_CHECKING:
    from reference.engine.engine import Engine, RequestHandle

DONE = "data: [DONE]\n\n"
"""The last event of every stream, as SGLang and OpenAI have it."""

KEEP_ALIVE = ": keep-alive\n\n"
"""A comment, which clients pass over: it says that the connection is in use."""

KEEP_ALIVE_SECONDS = 15.0
"""Time without an event, as in a long prefill, after which a stream has a comment: proxies often cut an idle connection
after 30 or 60 seconds."""


class OpenRequests:
    """All HTTP requests that wait for tokens, at most `limit` of them at once."""

    def __init__(self, engine: Engine, limit: int) -> None:
        self._engine = engine
        self._limit = limit
        self._open: set[ResponseStream] = set()

    def __len__(self) -> int:
        return len(self._open)

    async def submit(
        self,
        request: Request,
        prompts: Sequence[str | Sequence[int]],
        params: SamplingParams | Sequence[SamplingParams],
    ) -> ResponseStream:
        """Begins a response. Raises as `Engine.submit` does, and QueueFull where too many are open already."""
        if len(self._open) >= self._limit:
            raise QueueFull(f"{self._limit} requests are being answered, the most that this server takes; try later")
        response = ResponseStream(len(prompts), self._open)
        try:
            # tokenizing takes its time, so it must not hold up the loop
            await run_in_threadpool(response.submit, self._engine, prompts, params)
        except BaseException:
            response.close()
            raise
        response.watch(request)
        return response

    def abort_all(self) -> None:
        """Ends every response with an error."""
        for response in list(self._open):
            response.fail(ServerShutdown("the server is shutting down; ask again later"))


class ResponseStream:
    """The outputs of one HTTP request's prompts, as an asynchronous iterator of what came since the last look.

    It raises the engine's error if that breaks, and ClientDisconnected once the client has closed the connection: then
    the requests have been aborted, whether somebody iterates or not.
    """

    def __init__(self, prompts: int, registry: set[ResponseStream]) -> None:
        self._unfinished = prompts
        self._news: asyncio.Queue[TokenOutput | Exception] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._handle: RequestHandle | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._registry = registry
        registry.add(self)

    def submit(
        self,
        engine: Engine,
        prompts: Sequence[str | Sequence[int]],
        params: SamplingParams | Sequence[SamplingParams],
    ) -> None:
        """Submits the prompts; on any thread."""
        self._handle = engine.submit(prompts, params, self._tell)

    def _tell(self, news: TokenOutput | Exception) -> None:
        self._loop.call_soon_threadsafe(self._news.put_nowait, news)  # raises once the loop has ended: that aborts

    def watch(self, request: Request) -> None:
        """Aborts as soon as the client hangs up."""
        self._watcher = asyncio.create_task(self._wait_for_end(request))

    async def _wait_for_end(self, request: Request) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self.fail(ClientDisconnected())

    def fail(self, error: Exception) -> None:
        """Aborts the requests and ends the iteration with this error."""
        self._news.put_nowait(error)
        self.close()

    def close(self) -> None:
        """Aborts what is unfinished; idempotent."""
        self._registry.discard(self)
        if self._handle is not None:
            self._handle.cancel()
        if self._watcher is not None and self._watcher is not asyncio.current_task():
            self._watcher.cancel()

    async def batches(self, *, idle: float | None = None) -> AsyncIterator[list[TokenOutput]]:
        """What came since the last look; after `idle` seconds without anything an empty list."""
        try:
            while self._unfinished:
                outputs = []
                for item in await self._next(idle):
                    if isinstance(item, Exception):
                        raise item
                    outputs.append(item)
                    self._unfinished -= item.reason is not None
                yield outputs
        finally:
            self.close()

    async def _next(self, idle: float | None) -> list[TokenOutput | Exception]:
        try:
            async with asyncio.timeout(idle):
                news = [await self._news.get()]
        except TimeoutError:
            return []
        while not self._news.empty():
            news.append(self._news.get_nowait())
        return news

    async def all(self) -> list[TokenOutput]:
        """Every output, once all are there."""
        return [output async for outputs in self.batches() for output in outputs]


def event(data: Any) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(data, separators=(',', ':'))}\n\n"


def event_stream(
    response: ResponseStream,
    show: Callable[[TokenOutput], Iterable[Any]],
    *,
    before: Iterable[Any] = (),
    after: Callable[[], Iterable[Any]] = tuple,
) -> StreamingResponse:
    """The events of a response as it comes. An error after the first event is the last one before the end mark.

    show: the events of one output. before, after: events around all of them.
    """

    async def body() -> AsyncIterator[str]:
        try:
            begun = "".join(map(event, before))
            if begun:
                yield begun
            async for outputs in response.batches(idle=KEEP_ALIVE_SECONDS):
                events = "".join(event(item) for output in outputs for item in show(output))
                if events or not outputs:
                    yield events or KEEP_ALIVE
            ended = "".join(map(event, after()))
        except ClientDisconnected:
            return
        except Exception as error:
            ended = event(describe(error)[1])
        yield ended + DONE

    return StreamingResponse(body(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
