"""OpenAI's HTTP interface, as far as its client and load generators need it: completions, chat, models."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from reference.chat_template import ChatTemplate
from reference.clients import Clients
from reference.fields import (
    MOST_ITEMS,
    Batch,
    Body,
    Count,
    Few,
    One,
    Probability,
    Seed,
    Stop,
    Temperature,
    Texts,
    TokenId,
    Tokens,
    Zero,
)
from reference.fields import stops as stop_texts
from reference.http_errors import DOCUMENTED, NoSuchModel
from reference.openai_words import Choice, chat_logprobs, completion_logprobs, usage
from reference.outputs import Output
from reference.params import Params
from reference.sse import stream

MOST_TOP = 20
"""OpenAI's bound on the likeliest tokens of a chat."""

if TYPE_CHECKING:
    from reference.engine import Engine


class StreamOptions(Body):
    """include_usage: one more event at the end says how many tokens there were. continuous_usage_stats, a common
    extension: every event says how many of its choice there are so far."""

    include_usage: bool = False
    continuous_usage_stats: bool = False


class Common(Body):
    """What both kinds of completion take. Defaults are OpenAI's; top_k and ignore_eos are common extensions."""

    model: str
    temperature: Temperature | None = 1.0
    top_p: Probability | None = 1.0
    top_k: int | None = Field(None, ge=-1, lt=2**31)
    seed: Seed | None = None
    stop: Stop = None
    stop_token_ids: list[TokenId] | None = None
    ignore_eos: bool = False
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    user: str | None = None
    n: One | None = 1
    presence_penalty: Zero | None = 0
    frequency_penalty: Zero | None = 0
    repetition_penalty: One | None = 1
    min_p: Zero | None = 0
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with the count of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    def so_far(self, choice: Choice) -> dict[str, Any]:
        """What an event of a stream says of tokens, beside its choice."""
        if self.stream_options is not None and self.stream_options.continuous_usage_stats:
            return {"usage": usage([choice]) if choice.outputs else None}
        return {"usage": None} if self.with_usage else {}

    def params(self, **more: Any) -> Params:
        """The same for the engine."""
        return Params(
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            top_k=max(0, self.top_k or 0),
            seed=self.seed,
            stop=stop_texts(self.stop),
            stop_token_ids=tuple(self.stop_token_ids or ()),
            ignore_eos=self.ignore_eos,
            **more,
        )


class CompletionBody(Common):
    """Continue texts, or token ids."""

    prompt: str | Texts | Tokens | Batch
    max_tokens: Count | None = 16
    logprobs: int | None = Field(None, ge=0, le=MOST_TOP)
    best_of: One | None = 1
    echo: Literal[False] | None = False
    suffix: None = None

    def prompts(self) -> list[Any]:
        """The prompts one by one."""
        several = isinstance(self.prompt, list) and (not self.prompt or not isinstance(self.prompt[0], int))
        prompts: Any = self.prompt if several else [self.prompt]
        if not prompts:
            raise ValueError("there is no prompt; give at least one")
        return list(prompts)


class TextPart(Body):
    """A piece of a message."""

    type: Literal["text"]
    text: str


class ChatMessage(Body):
    """One message of a conversation."""

    role: str = Field(min_length=1)
    content: str | Annotated[list[TextPart], Few]
    name: str | None = None

    def plain(self) -> dict[str, str]:
        """The message as templates take it."""
        content = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": self.role, "content": content, **({"name": self.name} if self.name else {})}


class TextFormat(Body):
    """The only format of an answer."""

    type: Literal["text"]


class ChatBody(Common):
    """Answer a conversation."""

    messages: list[ChatMessage] = Field(min_length=1, max_length=MOST_ITEMS, fail_fast=True)
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    logprobs: bool | None = False
    top_logprobs: int | None = Field(None, ge=0, le=MOST_TOP)
    response_format: TextFormat | None = None
    tools: Annotated[list[Any], Field(max_length=0)] | None = None
    tool_choice: Literal["none", "auto"] | None = None


def router(engine: Engine, clients: Clients, name: str, template: ChatTemplate | ValueError) -> APIRouter:
    """The routes. name: of the one model. template: its chat template, or why there is none."""
    routes = APIRouter(tags=["OpenAI"])
    started = int(time.time())
    model = {"id": name, "object": "model", "created": started, "owned_by": "ringproof"}
    model["max_model_len"] = engine.config.max_len
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
        return engine.tokenizer.encode(text, bare=True, most=engine.config.max_len)

    @routes.post("/v1/chat/completions", responses=responses)
    async def chat(body: ChatBody, request: Request) -> Any:
        """Answer a conversation; with `stream`, as server-sent events."""
        check_model(body.model)
        prompt = await run_in_threadpool(rendered, body.messages)  # it takes its time, as in `Clients.ask`
        room = max(1, engine.config.max_len - len(prompt))
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
