"""OpenAI's HTTP interface, as far as its client and load generators need it: completions, chat, models."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from reference.server.errors import DOCUMENTED, NoSuchModel
from reference.server.openai.format import ChatFormat, CompletionFormat
from reference.server.openai.schema import ChatRequest, CompletionRequest
from reference.server.streaming import OpenRequests, event_stream
from reference.server.tokenizer import ServerTokenizer

if TYPE_CHECKING:
    from reference.engine.engine import Engine


class OpenAIRoutes:
    """Answers OpenAI's clients. name: of the one model; its clients may also ask for what --model says, or for none."""

    def __init__(self, engine: Engine, open_requests: OpenRequests, tokenizer: ServerTokenizer, name: str) -> None:
        self._engine, self._open_requests, self._tokenizer, self._name = engine, open_requests, tokenizer, name
        self._model = {
            "id": name,
            "object": "model",
            "created": int(time.time()),
            "owned_by": "ringproof",
            "root": engine.config.model,
            "parent": None,
            "max_model_len": engine.config.context_length,
        }

    def router(self) -> APIRouter:
        """All routes."""
        router = APIRouter(tags=["OpenAI"])
        responses = {**DOCUMENTED, 404: {**DOCUMENTED[400], "description": "The model is not served here."}}
        router.get("/v1/models")(self.models)
        router.get("/v1/models/{asked:path}", responses={404: responses[404]})(self.one_model)
        router.post("/v1/completions", responses=responses)(self.completions)
        router.post("/v1/chat/completions", responses=responses)(self.chat)
        return router

    def models(self) -> dict[str, Any]:
        """The one model."""
        return {"object": "list", "data": [self._model]}

    def one_model(self, asked: str) -> dict[str, Any]:
        """The one model, by its name."""
        self._check_model(asked)
        return self._model

    async def completions(self, body: CompletionRequest, request: Request) -> Any:
        """Continue texts; with `stream`, as server-sent events."""
        self._check_model(body.model)
        prompts, logprobs = body.prompts(), body.logprobs is not None
        tokenizer = self._tokenizer.tokenizer if logprobs else None  # raises where there is none
        params = body.params(max_new_tokens=body.max_tokens or 16, logprobs=logprobs, top_logprobs=body.logprobs or 0)
        response = await self._open_requests.submit(request, prompts, params)
        form = CompletionFormat(self._name, len(prompts), tokenizer=tokenizer, options=body.usage_options)
        if body.stream:
            return event_stream(response, form.events, after=form.last_events)
        for output in await response.all():
            form.add(output)
        return form.whole()

    async def chat(self, body: ChatRequest, request: Request) -> Any:
        """Answer a conversation; with `stream`, as server-sent events."""
        self._check_model(body.model)
        messages = [item.plain() for item in body.messages]
        prompt = await run_in_threadpool(self._tokenizer.encode_chat, messages)  # off the loop, as it takes its time
        room = max(1, self._engine.config.context_length - len(prompt))
        params = body.params(
            max_new_tokens=body.max_completion_tokens or body.max_tokens or room,
            logprobs=bool(body.logprobs),
            top_logprobs=body.top_logprobs or 0,
        )
        response = await self._open_requests.submit(request, [prompt], params)
        form = ChatFormat(
            self._name,
            tokenizer=self._tokenizer.tokenizer if body.logprobs else None,
            options=body.usage_options,
        )
        if body.stream:
            return event_stream(
                response,
                form.events,
                before=[form.first_event()],
                after=form.last_events,
            )
        for output in await response.all():
            form.add(output)
        return form.whole()

    def _check_model(self, asked: str | None) -> None:
        if asked not in (None, self._name, self._engine.config.model):
            raise NoSuchModel(f"the model {asked!r} is not served here; ask for {self._name!r}, or name none")
