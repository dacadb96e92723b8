"""A server's life, from the first socket to the last connection: signals, the end of the pipeline, and what is still
under way then."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from reference.ranks import interrupts
from reference.server.app import make_app
from reference.server.options import ServerOptions
from reference.server.streaming import OpenRequests

if TYPE_CHECKING:
    from reference.engine.engine import Engine

POLL_SECONDS = 0.2
"""Between two looks at the engine."""

SHUTDOWN_DELAY = 1.0
"""Seconds that a server goes on after its pipeline broke, to say so to those who ask."""


def serve(engine: Engine, options: ServerOptions, listener: socket.socket, say: Callable[[str], None]) -> int:
    """Answers until a signal or the end of the pipeline. The signal's number, or 0; raises what broke the pipeline.

    When it returns no connection is left; to end the engine is the caller's part.
    """
    app = make_app(engine, options)
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="off",
        server_header=False,
        limit_concurrency=2 * options.max_clients + 64,
        timeout_graceful_shutdown=2,
    )
    server = _Server(config, engine, app.state.open_requests, options.grace, say)
    asyncio.run(server.serve(sockets=[listener]))
    failure = engine.failure
    if failure is not None and not server.signal:
        raise failure
    return server.signal


class _Server(uvicorn.Server):
    """uvicorn's server, which also ends with its pipeline, and ends its answers when it is told to end."""

    def __init__(
        self,
        config: uvicorn.Config,
        engine: Engine,
        open_requests: OpenRequests,
        grace: float,
        say: Callable[[str], None],
    ) -> None:
        super().__init__(config)
        self.signal = 0
        self._engine, self._open_requests, self._grace, self._say = engine, open_requests, grace, say

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens, and then says where."""
        await super().startup(sockets)
        assert sockets
        host, port = sockets[0].getsockname()[:2]
        self._say(f"serving on http://{f'[{host}]' if ':' in host else host}:{port} (Ctrl-C ends it)")

    async def main_loop(self) -> None:
        """Returns when it is time to end."""
        watch = asyncio.create_task(self._end_with_engine())
        await super().main_loop()
        watch.cancel()

    async def _end_with_engine(self) -> None:
        while self._engine.stats().alive:
            await asyncio.sleep(POLL_SECONDS)
        self._say(f"the pipeline broke; the server ends: {self._engine.stats().failure.splitlines()[0]}")
        await asyncio.sleep(SHUTDOWN_DELAY)
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Lets answers come to their end for a while, then ends them."""
        for server in self.servers:
            server.close()  # nobody new
        left = self._grace
        while len(self._open_requests) and left > 0 and not self.force_exit:
            await asyncio.sleep(0.05)
            left -= 0.05
        self._open_requests.abort_all()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Unlike uvicorn's, it does not raise the signals anew at the end: the caller decides what they mean. And an
        interrupt that was ignored from the start stays so."""
        numbers = (signal.SIGTERM,) if interrupts.ignored() else (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal ends the server in good order, another SIGINT at once."""
        self.signal = self.signal or sig
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True
