"""OpenAI's HTTP interface, as far as its client and load generators need it: completions, chat, models."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from reference.checkpoint.chat_template import ChatTemplate
from reference.engine.outputs import Output
from reference.server.errors import DOCUMENTED, NoSuchModel
from reference.server.openai.format import Choice, chat_logprobs, completion_logprobs, usage
from reference.server.openai.schema import ChatBody, ChatMessage, CompletionBody
from reference.server.sse import stream
from reference.server.streaming import Clients

if TYPE_CHECKING:
    from reference.engine.engine import Engine


def router(engine: Engine, clients: Clients, name: str, template: ChatTemplate | ValueError) -> APIRouter:
    """The routes. name: of the one model. template: its chat template, or why there is none."""
    routes = APIRouter(tags=["OpenAI"])
    started = int(time.time())
    model = {"id": name, "object": "model", "created": started, "owned_by": "ringproof", "root": name, "parent": None}
    model["max_model_len"] = engine.config.context_length
    responses = {**DOCUMENTED, 404: {**DOCUMENTED[400], "description": "The model is not served here."}}

    def check_model(asked: str) -> None:
        if asked != name:
            raise NoSuchModel(f"the model {asked!r} is not served here; ask for {name!r}")

    @routes.get("/v1/models")
    def models() -> dict[str, Any]:
        """The one model."""
        return {"object": "list", "data": [model]}

    @routes.get("/v1/models/{asked:path}", responses={404: responses[404]})
    def one_model(asked: str) -> dict[str, Any]:
        """The one model, by its name."""
        check_model(asked)
        return model

    @routes.post("/v1/completions", responses=responses)
    async def completions(body: CompletionBody, request: Request) -> Any:
        """Continue texts; with `stream`, as server-sent events."""
        check_model(body.model)
        prompts = body.prompts()
        wanted = body.logprobs is not None
        if wanted:
            engine.tokenizer  # noqa: B018 (raises where there is none)
        params = body.params(max_new_tokens=body.max_tokens or 16, logprobs=wanted, top_logprobs=body.logprobs or 0)
        answer = await clients.ask(request, prompts, params)
        head = {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": name,
        }
        choices = [Choice() for _ in prompts]

        def show(output: Output) -> Iterator[dict[str, Any]]:
            choice = choices[output.index]
            logprobs = completion_logprobs(engine.tokenizer, [output], choice.length) if wanted else None
            choice.add(output)
            item = {
                "index": output.index,
                "text": output.text,
                "logprobs": logprobs,
                "finish_reason": output.reason,
            }
            yield {**head, "choices": [item], **body.so_far(choice)}

        if body.stream:
            return stream(answer, show, after=lambda: [{**head, **ending(choices)}] if body.with_usage else [])
        for output in await answer.all():
            choices[output.index].add(output)
        shown = [
            {
                "index": index,
                "text": choice.text,
                "logprobs": completion_logprobs(engine.tokenizer, choice.outputs, 0) if wanted else None,
                "finish_reason": choice.reason,
            }
            for index, choice in enumerate(choices)
        ]
        return {**head, "choices": shown, "usage": usage(choices)}

    def rendered(messages: list[ChatMessage]) -> list[int]:
        if isinstance(template, ValueError):
            raise template
        text = template.render([item.plain() for item in messages])
        return engine.tokenizer.encode(text, bare=True, most=engine.config.context_length)

    @routes.post("/v1/chat/completions", responses=responses)
    async def chat(body: ChatBody, request: Request) -> Any:
        """Answer a conversation; with `stream`, as server-sent events."""
        check_model(body.model)
        prompt = await run_in_threadpool(rendered, body.messages)  # it takes its time, as in `Clients.ask`
        room = max(1, engine.config.context_length - len(prompt))
        wanted = bool(body.logprobs)
        params = body.params(
            max_new_tokens=body.max_completion_tokens or body.max_tokens or room,
            logprobs=wanted,
            top_logprobs=body.top_logprobs or 0,
        )
        answer = await clients.ask(request, [prompt], params)
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": name}
        choice = Choice()

        def chunk(delta: dict[str, str], output: Output | None = None, *, last: bool = False) -> dict[str, Any]:
            logprobs = chat_logprobs(engine.tokenizer, [output]) if wanted and output is not None and not last else None
            item = {
                "index": 0,
                "delta": delta,
                "logprobs": logprobs,
                "finish_reason": output.reason if last and output is not None else None,
            }
            return {**head, "object": "chat.completion.chunk", "choices": [item], **body.so_far(choice)}

        def show(output: Output) -> Iterator[dict[str, Any]]:
            choice.add(output)
            yield chunk({"content": output.text}, output)
            if output.reason is not None:
                yield chunk({}, output, last=True)

        if body.stream:
            counts = {**head, "object": "chat.completion.chunk"}
            return stream(
                answer,
                show,
                before=[chunk({"role": "assistant", "content": ""})],
                after=lambda: [{**counts, **ending([choice])}] if body.with_usage else [],
            )
        for output in await answer.all():
            choice.add(output)
        shown = {
            "index": 0,
            "message": {"role": "assistant", "content": choice.text, "refusal": None},
            "logprobs": chat_logprobs(engine.tokenizer, choice.outputs) if wanted else None,
            "finish_reason": choice.reason,
        }
        return {**head, "object": "chat.completion", "choices": [shown], "usage": usage([choice])}

    return routes


def ending(choices: list[Choice]) -> dict[str, Any]:
    """The event that counts the tokens of a stream."""
    return {"choices": [], "usage": usage(choices)}
