"""SGLang's own HTTP interface: `/generate`, and what its load generators ask for around it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request

from reference.scheduling.sampling_params import SamplingParams
from reference.server.errors import DOCUMENTED
from reference.server.sglang.format import GenerateAccumulator, GenerateFormat
from reference.server.sglang.schema import GenerateRequest
from reference.server.streaming import OpenRequests, event_stream
from reference.server.tokenizer import ServerTokenizer

if TYPE_CHECKING:
    from reference.engine.engine import Engine


MAX_FLUSH_TIMEOUT = 600.0
"""Seconds that a client may let the server wait until it is idle."""

FLUSH_POLL_SECONDS = 0.05
"""Between two looks whether it is."""


class SGLangRoutes:
    """Answers SGLang's clients. server_info: what /get_server_info tells beside the engine's own state."""

    def __init__(
        self,
        engine: Engine,
        open_requests: OpenRequests,
        tokenizer: ServerTokenizer,
        server_info: dict[str, Any],
    ) -> None:
        self._engine, self._open_requests, self._tokenizer = engine, open_requests, tokenizer
        self._server_info = server_info

    def router(self) -> APIRouter:
        """All routes. The newer of two names of one is not described."""
        router = APIRouter(tags=["SGLang"])
        refused: dict[int | str, Any] = {400: DOCUMENTED[400]}
        down_or_full: dict[int | str, Any] = {status: DOCUMENTED[status] for status in (503, 429)}
        router.post("/generate", responses=DOCUMENTED)(self.generate)
        router.get("/flush_cache", responses=refused, operation_id="flush_cache_by_get")(self.flush_cache)
        router.post("/flush_cache", responses=refused)(self.flush_cache)
        router.get("/get_server_info")(self.get_server_info)
        router.get("/server_info", include_in_schema=False)(self.get_server_info)
        router.get("/get_model_info")(self.get_model_info)
        router.get("/model_info", include_in_schema=False)(self.get_model_info)
        router.get("/health_generate", responses=down_or_full)(self.health_generate)
        return router

    async def generate(self, body: GenerateRequest, request: Request) -> Any:
        """Continue one prompt or a batch; with `stream`, as server-sent events."""
        prompts, batch = body.prompts()
        request_ids, given = body.request_ids(len(prompts)), body.params_of_each(len(prompts))
        if body.return_text_in_logprobs:
            self._tokenizer.tokenizer  # noqa: B018 (raises where there is none)
        params = [item.params(**body.logprobs()) for item in given]
        began = time.perf_counter()
        response = await self._open_requests.submit(request, prompts, params)
        answers = [
            GenerateAccumulator(
                f"{id(response):x}-{index}" if request_ids is None else request_ids[index],
                item,
                tokenizer=self._tokenizer,
                eos=self._engine.shape.eos,
                token_texts=body.return_text_in_logprobs,
                began=began,
            )
            for index, item in enumerate(params)
        ]
        form = GenerateFormat(answers, [item.stream_interval or 1 for item in given], batch=batch)
        if body.stream:
            return event_stream(response, form.events)
        for output in await response.all():
            form.add(output)
        return form.whole()

    async def flush_cache(self, timeout: Annotated[float, Query(ge=0, le=MAX_FLUSH_TIMEOUT)] = 0) -> dict[str, Any]:
        """Succeeds once nothing is under way, within `timeout` seconds: nothing is kept between requests, so there is
        nothing to drop."""
        deadline = time.monotonic() + timeout
        while not self._engine.is_idle():
            if time.monotonic() >= deadline:
                raise ValueError("requests are under way; flush when they are done, or give a longer timeout")
            await asyncio.sleep(FLUSH_POLL_SECONDS)
        return {"success": True, "message": "nothing is cached between requests"}

    def get_server_info(self) -> dict[str, Any]:
        """The configuration and the state."""
        state, config = self._engine.stats(), self._engine.config
        inside = {
            "last_gen_throughput": state.decode_rate,
            "memory_usage": {"token_capacity": config.cache_rows * config.context_length},
            "effective_max_running_requests_per_dp": config.cache_rows,
            "num_running_reqs": state.running,
            "num_queue_reqs": state.waiting,
        }
        return {**self._server_info, "internal_states": [inside]}

    def get_model_info(self) -> dict[str, Any]:
        """What is served."""
        names = ("model_path", "tokenizer_path")
        return {**{name: self._server_info[name] for name in names}, "is_generation": True}

    async def health_generate(self, request: Request) -> dict[str, Any]:
        """Healthy enough to make one token."""
        params = SamplingParams(max_new_tokens=1, ignore_eos=True)
        await (await self._open_requests.submit(request, [[0]], params)).all()
        return {"status": "ok"}
