"""The app: an engine's routes, what it says of itself, and its health.

No request carries more than JSON, and nothing is ever unpickled. There is no authentication: keep to the loopback
address, or put a proxy in front.
"""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response

from reference.server import errors, metrics
from reference.server.openai.routes import OpenAIRoutes
from reference.server.options import ServerOptions
from reference.server.sglang.routes import SGLangRoutes
from reference.server.streaming import OpenRequests
from reference.server.tokenizer import ServerTokenizer

if TYPE_CHECKING:
    from reference.engine.engine import Engine


def make_app(engine: Engine, options: ServerOptions) -> FastAPI:
    """The app of a running engine. Its `state.open_requests` are those that wait for tokens."""
    name = options.served_model_name or model_name(engine.config.model)
    open_requests = OpenRequests(engine, options.max_clients)
    tokenizer = ServerTokenizer(engine)
    registry = metrics.registry(engine, open_requests, name)
    app = FastAPI(
        title="Ringproof reference",
        version=version("ringproof"),
        description="A pipeline-parallel Llama, with SGLang's and OpenAI's interfaces.",
        docs_url=None,  # these pages would load scripts from elsewhere
        redoc_url=None,
    )
    app.state.open_requests = open_requests
    errors.install(app, options.max_body)
    info = server_info(engine, options, name)
    app.include_router(SGLangRoutes(engine, open_requests, tokenizer, info).router())
    app.include_router(OpenAIRoutes(engine, open_requests, tokenizer, name).router())

    @app.get("/health", tags=["state"], responses={503: errors.DOCUMENTED[503]})
    def health() -> Response:
        """200 while the pipeline serves; 503 once it is dead, or stands still."""
        problem = health_problem(engine)
        if problem:
            return errors.AsciiJSONResponse(errors.error_body(503, problem, "service_unavailable"), 503)
        return JSONResponse({"status": "ok"})

    @app.get("/metrics", tags=["state"], response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    def show_metrics() -> Response:
        """Prometheus metrics."""
        return Response(metrics.exposition(registry), media_type=metrics.FORMAT)

    _describe(app, [name, *({engine.config.model} - {name}), None])
    return app


def model_name(model: str) -> str:
    """The name of a model that was given no other: the last part of its path, or what --model says."""
    path = Path(model).expanduser()
    return (path.absolute().name or model) if path.exists() else model


def health_problem(engine: Engine) -> str:
    """What is wrong with the pipeline; empty where it is well. Standing still is one well before it is an end:
    after half the watchdog's time."""
    state = engine.stats()
    if not state.alive:
        return state.failure.splitlines()[0] if state.failure else "the engine has ended"
    if state.idle_seconds > engine.config.watchdog / 2:
        return f"a rank has made no progress for {state.idle_seconds:.1f} s"
    return ""


def server_info(engine: Engine, options: ServerOptions, name: str) -> dict[str, Any]:
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


def _describe(app: FastAPI, models: list[str | None]) -> None:
    """Makes /openapi.json true: one model is served, by these names; a body that is not valid gives 400, not 422."""
    described = app.openapi()
    for body in ("CompletionRequest", "ChatRequest"):
        described["components"]["schemas"][body]["properties"]["model"]["enum"] = models
    for path in described["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        described["components"]["schemas"].pop(name, None)
