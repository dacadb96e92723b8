"""Bodies of requests in OpenAI's form. Fields that nothing is behind only take what means off."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from reference.scheduling.sampling_params import SamplingParams
from reference.server.schema import (
    MAX_ITEMS,
    BoundedList,
    MinTokens,
    OnlyEmpty,
    OnlyFalse,
    OnlyNull,
    OnlyOne,
    OnlyTrue,
    OnlyZero,
    PositiveInt,
    Probability,
    Seed,
    Stop,
    StrictModel,
    Temperature,
    Texts,
    TokenId,
    TokenLists,
    Tokens,
    stop_strings,
    with_min_tokens,
)

MAX_CHAT_TOP_LOGPROBS = 20
"""OpenAI's bound on the likeliest tokens of a chat."""


class StreamOptions(StrictModel):
    """include_usage: one more event at the end says how many tokens there were. continuous_usage_stats, a common
    extension: every event says how many of its choice there are so far."""

    include_usage: bool = False
    continuous_usage_stats: bool = False


class CommonRequest(StrictModel):
    """What both kinds of completion take. Defaults are OpenAI's; top_k and ignore_eos are common extensions."""

    model: Annotated[str | None, Field(description="The one that is served, if any is named")] = None
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
    n: OnlyOne | None = 1
    presence_penalty: OnlyZero | None = 0
    frequency_penalty: OnlyZero | None = 0
    repetition_penalty: OnlyOne | None = 1
    min_p: OnlyZero | None = 0
    min_tokens: MinTokens | None = 0
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None
    skip_special_tokens: OnlyTrue = True
    store: OnlyFalse | None = False
    service_tier: Literal["auto", "default"] | None = None
    return_cached_tokens_details: Annotated[bool, Field(description="Changes nothing: `usage` says it anyhow")] = False

    @property
    def usage_options(self) -> StreamOptions:
        """What events of a stream say of tokens."""
        return self.stream_options or StreamOptions()

    def params(self, **more: Any) -> SamplingParams:
        """The same for the engine."""
        params = SamplingParams(
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            top_k=max(0, self.top_k or 0),
            seed=self.seed,
            stop=stop_strings(self.stop),
            stop_token_ids=tuple(self.stop_token_ids or ()),
            ignore_eos=self.ignore_eos,
            **more,
        )
        return with_min_tokens("min_tokens", self.min_tokens, params)


class CompletionRequest(CommonRequest):
    """Continue texts, or token ids."""

    prompt: str | Texts | Tokens | TokenLists
    max_tokens: PositiveInt | None = 16
    logprobs: int | None = Field(None, ge=0, le=MAX_CHAT_TOP_LOGPROBS)
    best_of: OnlyOne | None = 1
    echo: OnlyFalse | None = False
    suffix: OnlyNull = None

    def prompts(self) -> list[Any]:
        """The prompts one by one."""
        several = isinstance(self.prompt, list) and (not self.prompt or not isinstance(self.prompt[0], int))
        prompts: Any = self.prompt if several else [self.prompt]
        if not prompts:
            raise ValueError("there is no prompt; give at least one")
        return list(prompts)


class TextPart(StrictModel):
    """A piece of a message."""

    type: Literal["text"]
    text: str


class ChatMessage(StrictModel):
    """One message of a conversation. An answer's message can be sent back as it is: hence the fields that are off."""

    role: str = Field(min_length=1)
    content: str | BoundedList[TextPart]
    name: str | None = None
    refusal: OnlyNull = None
    audio: OnlyNull = None
    annotations: OnlyEmpty = None
    function_call: OnlyNull = None
    tool_calls: OnlyEmpty = None

    def plain(self) -> dict[str, str]:
        """The message as templates take it."""
        content = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": self.role, "content": content, **({"name": self.name} if self.name else {})}


class TextFormat(StrictModel):
    """The only format of an answer."""

    type: Literal["text"]


class ChatRequest(CommonRequest):
    """Answer a conversation."""

    messages: list[ChatMessage] = Field(min_length=1, max_length=MAX_ITEMS, fail_fast=True)
    max_tokens: PositiveInt | None = None
    max_completion_tokens: PositiveInt | None = None
    logprobs: bool | None = False
    top_logprobs: int | None = Field(None, ge=0, le=MAX_CHAT_TOP_LOGPROBS)
    response_format: TextFormat | None = None
    modalities: Annotated[list[Literal["text"]], Field(min_length=1, max_length=1)] | None = None
    reasoning_effort: OnlyNull = None
    tools: OnlyEmpty = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: Annotated[bool | None, Field(description="Changes nothing, as there are no tools")] = None
