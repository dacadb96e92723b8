"""From the engine's thread to the event loop of the web server: one `Answer` for each HTTP request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from reference.engine.outputs import Output
from reference.scheduling.sampling_params import QueueFull, SamplingParams

if TYPE_CHECKING:
    from reference.engine.engine import Engine, Ticket


class ClientGone(Exception):
    """Whoever asked has closed the connection."""


class Ending(RuntimeError):
    """The server ends before the answer does."""


class Clients:
    """All HTTP requests that wait for tokens, at most `limit` of them at once."""

    def __init__(self, engine: Engine, limit: int) -> None:
        self._engine = engine
        self._limit = limit
        self._open: set[Answer] = set()

    def __len__(self) -> int:
        return len(self._open)

    async def ask(
        self,
        request: Request,
        prompts: Sequence[str | Sequence[int]],
        params: SamplingParams | Sequence[SamplingParams],
    ) -> Answer:
        """Begins an answer. Raises as `Engine.submit` does, and QueueFull where too many are open already."""
        if len(self._open) >= self._limit:
            raise QueueFull(f"{self._limit} requests are being answered, the most that this server takes; try later")
        answer = Answer(len(prompts), self._open)
        try:
            # tokenizing takes its time, so it must not hold up the loop
            await run_in_threadpool(answer.begin, self._engine, prompts, params)
        except BaseException:
            answer.close()
            raise
        answer.watch(request)
        return answer

    def end(self) -> None:
        """Ends every answer with an error."""
        for answer in list(self._open):
            answer.fail(Ending("the server is shutting down; ask again later"))


class Answer:
    """The outputs of one HTTP request's prompts, as an asynchronous iterator of what came since the last look.

    It raises the engine's error if that breaks, and ClientGone once the client has closed the connection: then the
    requests have been aborted, whether somebody iterates or not.
    """

    def __init__(self, prompts: int, registry: set[Answer]) -> None:
        self._unfinished = prompts
        self._news: asyncio.Queue[Output | Exception] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._ticket: Ticket | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._registry = registry
        registry.add(self)

    def begin(
        self, engine: Engine, prompts: Sequence[str | Sequence[int]], params: SamplingParams | Sequence[SamplingParams]
    ) -> None:
        """Submits the prompts; on any thread."""
        self._ticket = engine.submit(prompts, params, self._tell)

    def _tell(self, news: Output | Exception) -> None:
        self._loop.call_soon_threadsafe(self._news.put_nowait, news)  # raises once the loop has ended: that aborts

    def watch(self, request: Request) -> None:
        """Aborts as soon as the client hangs up."""
        self._watcher = asyncio.create_task(self._wait_for_end(request))

    async def _wait_for_end(self, request: Request) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self.fail(ClientGone())

    def fail(self, error: Exception) -> None:
        """Aborts the requests and ends the iteration with this error."""
        self._news.put_nowait(error)
        self.close()

    def close(self) -> None:
        """Aborts what is unfinished; idempotent."""
        self._registry.discard(self)
        if self._ticket is not None:
            self._ticket.cancel()
        if self._watcher is not None and self._watcher is not asyncio.current_task():
            self._watcher.cancel()

    async def __aiter__(self) -> AsyncIterator[list[Output]]:
        try:
            while self._unfinished:
                news = [await self._news.get()]
                while not self._news.empty():
                    news.append(self._news.get_nowait())
                outputs = []
                for item in news:
                    if isinstance(item, Exception):
                        raise item
                    outputs.append(item)
                    self._unfinished -= item.reason is not None
                yield outputs
        finally:
            self.close()

    async def all(self) -> list[Output]:
        """Every output, once all are there."""
        return [output async for outputs in self for output in outputs]
