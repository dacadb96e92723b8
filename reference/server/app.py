"""The engine behind HTTP: the app, and its life from the first socket to the last.

No request carries more than JSON, and nothing is ever unpickled. There is no authentication: keep to the loopback
address, or put a proxy in front.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response

from reference.checkpoint.chat_template import ChatTemplate
from reference.ranks import interrupts
from reference.server import errors as http_errors
from reference.server import metrics
from reference.server.openai import routes as openai_api
from reference.server.options import ServerOptions
from reference.server.sglang import routes as sglang_api
from reference.server.streaming import Clients

if TYPE_CHECKING:
    from reference.engine.engine import Engine

GLANCE = 0.2
"""Seconds between two looks at the engine."""

LINGER = 1.0
"""Seconds that a server goes on after its pipeline broke, to say so to those who ask."""


def make_app(engine: Engine, options: ServerOptions) -> FastAPI:
    """The app of a running engine. Its `state.clients` are those that wait for tokens."""
    name = options.served_model_name or engine.config.model
    clients = Clients(engine, options.max_clients)
    registry = metrics.registry(engine, clients, name)
    app = FastAPI(
        title="Ringproof reference",
        version=version("ringproof"),
        description="A pipeline-parallel Llama, with SGLang's and OpenAI's interfaces.",
        docs_url=None,  # these pages would load scripts from elsewhere
        redoc_url=None,
    )
    app.state.clients = clients
    http_errors.install(app, options.max_body)
    app.include_router(sglang_api.router(engine, clients, about(engine, options, name)))
    app.include_router(openai_api.router(engine, clients, name, _template(engine)))

    @app.get("/health", tags=["state"], responses={503: http_errors.DOCUMENTED[503]})
    def health() -> Response:
        """200 while the pipeline serves; 503 once it is dead, or stands still."""
        wrong = trouble(engine)
        if wrong:
            return http_errors.Ascii(http_errors.body(503, wrong, "service_unavailable"), 503)
        return JSONResponse({"status": "ok"})

    @app.get("/metrics", tags=["state"], response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    def show_metrics() -> Response:
        """Prometheus metrics."""
        return Response(metrics.exposition(registry), media_type=metrics.FORMAT)

    _describe(app, name)
    return app


def trouble(engine: Engine) -> str:
    """What is wrong with the pipeline; empty where it is well. Standing still is trouble well before it is an end:
    after half the watchdog's time."""
    state = engine.state()
    if not state.alive:
        return state.failure.splitlines()[0] if state.failure else "the engine has ended"
    if state.quiet > engine.config.watchdog / 2:
        return f"a rank has made no progress for {state.quiet:.1f} s"
    return ""


def about(engine: Engine, options: ServerOptions, name: str) -> dict[str, Any]:
    """What does not change while the server runs, by SGLang's names where it has one."""
    config = engine.config
    folder = Path(config.model).expanduser()
    path = str(folder.absolute()) if folder.exists() else config.model
    return {
        "model_path": path,
        "tokenizer_path": path,
        "served_model_name": name,
        "tp_size": config.tp,
        "pp_size": config.pp,
        "pp_async_batch_depth": config.depth,
        "dp_size": 1,
        "context_length": config.context_length,
        "vocab_size": engine.shape.vocab_size,
        "chunked_prefill_size": config.chunked_prefill_size,
        "max_running_requests": config.cache_rows,
        "random_seed": config.seed,
        "host": options.host,
        "port": options.port,
        "ordering": engine.ordering.name,
        "semantics": str(engine.semantics),
        "verdict": None if engine.prediction is None else engine.prediction.verdict,
        "engine": {key: value for key, value in asdict(config).items() if not isinstance(value, Path)},
        "version": version("ringproof"),
    }


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
    server = _Server(config, engine, app.state.clients, options.grace, say)
    asyncio.run(server.serve(sockets=[listener]))
    failure = engine.failure
    if failure is not None and not server.signal:
        raise failure
    return server.signal


class _Server(uvicorn.Server):
    """uvicorn's server, which also ends with its pipeline, and ends its answers when it is told to end."""

    def __init__(
        self, config: uvicorn.Config, engine: Engine, clients: Clients, grace: float, say: Callable[[str], None]
    ) -> None:
        super().__init__(config)
        self.signal = 0
        self._engine, self._clients, self._grace, self._say = engine, clients, grace, say

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
        while self._engine.state().alive:
            await asyncio.sleep(GLANCE)
        self._say(f"the pipeline broke; the server ends: {self._engine.state().failure.splitlines()[0]}")
        await asyncio.sleep(LINGER)
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Lets answers come to their end for a while, then ends them."""
        for server in self.servers:
            server.close()  # nobody new
        left = self._grace
        while len(self._clients) and left > 0 and not self.force_exit:
            await asyncio.sleep(0.05)
            left -= 0.05
        self._clients.end()
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


def _template(engine: Engine) -> ChatTemplate | ValueError:
    try:
        return engine.chat_template
    except ValueError as missing:
        return missing


def _describe(app: FastAPI, name: str) -> None:
    """Makes /openapi.json true: only one model is served, and a body that is not valid gives 400, not 422."""
    described = app.openapi()
    for body in ("CompletionBody", "ChatBody"):
        described["components"]["schemas"][body]["properties"]["model"]["enum"] = [name]
    for path in described["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        described["components"]["schemas"].pop(name, None)
