"""Bodies of requests in OpenAI's form. Fields that nothing is behind only take what means off."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from reference.scheduling.sampling_params import SamplingParams
from reference.server.openai.format import Choice, usage
from reference.server.schema import (
    MOST_ITEMS,
    Absent,
    Batch,
    Body,
    Count,
    Few,
    Least,
    Nothing,
    Off,
    On,
    One,
    Probability,
    Seed,
    Stop,
    Temperature,
    Texts,
    TokenId,
    Tokens,
    Zero,
    at_least,
)
from reference.server.schema import stops as stop_texts

MOST_TOP = 20
"""OpenAI's bound on the likeliest tokens of a chat."""


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
    min_tokens: Least | None = 0
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None
    skip_special_tokens: On = True
    store: Off | None = False
    service_tier: Literal["auto", "default"] | None = None
    return_cached_tokens_details: Annotated[bool, Field(description="Changes nothing: `usage` says it anyhow")] = False

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with the count of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    def so_far(self, choice: Choice) -> dict[str, Any]:
        """What an event of a stream says of tokens, beside its choice."""
        if self.stream_options is not None and self.stream_options.continuous_usage_stats:
            return {"usage": usage([choice]) if choice.outputs else None}
        return {"usage": None} if self.with_usage else {}

    def params(self, **more: Any) -> SamplingParams:
        """The same for the engine."""
        params = SamplingParams(
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            top_k=max(0, self.top_k or 0),
            seed=self.seed,
            stop=stop_texts(self.stop),
            stop_token_ids=tuple(self.stop_token_ids or ()),
            ignore_eos=self.ignore_eos,
            **more,
        )
        return at_least("min_tokens", self.min_tokens, params)


class CompletionBody(Common):
    """Continue texts, or token ids."""

    prompt: str | Texts | Tokens | Batch
    max_tokens: Count | None = 16
    logprobs: int | None = Field(None, ge=0, le=MOST_TOP)
    best_of: One | None = 1
    echo: Off | None = False
    suffix: Absent = None

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
    """One message of a conversation. An answer's message can be sent back as it is: hence the fields that are off."""

    role: str = Field(min_length=1)
    content: str | Annotated[list[TextPart], Few]
    name: str | None = None
    refusal: Absent = None
    audio: Absent = None
    annotations: Nothing = None
    function_call: Absent = None
    tool_calls: Nothing = None

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
    modalities: Annotated[list[Literal["text"]], Field(min_length=1, max_length=1)] | None = None
    reasoning_effort: Absent = None
    tools: Nothing = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: Annotated[bool | None, Field(description="Changes nothing, as there are no tools")] = None
