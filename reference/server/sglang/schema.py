"""Bodies of requests in SGLang's form. Fields that nothing is behind only take what means off."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from reference.scheduling.sampling_params import MAX_STOPS, SamplingParams
from reference.server.schema import (
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
    TopLogprobs,
    stop_strings,
    with_min_tokens,
)


class SamplingParamsBody(StrictModel):
    """How to continue one prompt. Defaults are SGLang's."""

    max_new_tokens: PositiveInt = 128
    temperature: Temperature = 1.0
    top_p: Probability = 1.0
    top_k: Annotated[int, Field(ge=-1, lt=2**31, description="-1 or 0: all tokens")] = -1
    sampling_seed: Seed | None = None
    stop: Stop = None
    stop_token_ids: Annotated[list[TokenId], Field(max_length=MAX_STOPS)] | None = None
    ignore_eos: bool = False
    stream_interval: Annotated[
        PositiveInt | None, Field(description="Tokens from one event of a stream to the next")
    ] = None
    n: OnlyOne = 1
    min_p: OnlyZero = 0
    min_new_tokens: MinTokens = 0
    frequency_penalty: OnlyZero = 0
    presence_penalty: OnlyZero = 0
    repetition_penalty: OnlyOne = 1
    json_schema: OnlyNull = None
    regex: OnlyNull = None
    ebnf: OnlyNull = None
    stop_regex: OnlyEmpty = None
    skip_special_tokens: OnlyTrue = True
    spaces_between_special_tokens: OnlyTrue = True

    def params(self, **logprobs: Any) -> SamplingParams:
        """The same for the engine."""
        params = SamplingParams(
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            top_k=max(0, self.top_k),
            top_p=self.top_p,
            seed=self.sampling_seed,
            stop=stop_strings(self.stop),
            stop_token_ids=tuple(self.stop_token_ids or ()),
            ignore_eos=self.ignore_eos,
            **logprobs,
        )
        return with_min_tokens("min_new_tokens", self.min_new_tokens, params)


class GenerateRequest(StrictModel):
    """One prompt or a batch, as text or as token ids."""

    text: str | Texts | None = None
    input_ids: Tokens | TokenLists | None = None
    sampling_params: SamplingParamsBody | BoundedList[SamplingParamsBody] = SamplingParamsBody()
    return_logprob: bool = False
    logprob_start_len: Annotated[int, Field(ge=-1, lt=2**31, description="-1: of new tokens only")] = -1
    top_logprobs_num: Annotated[TopLogprobs, Field(description="With return_logprob")] = 0
    return_text_in_logprobs: bool = False
    stream: bool = False
    rid: str | Texts | None = None
    lora_path: OnlyNull = None
    image_data: OnlyNull = None
    token_ids_logprob: OnlyNull = None
    return_routed_experts: OnlyFalse = False
    return_hidden_states: OnlyFalse = False

    def prompts(self) -> tuple[list[Any], bool]:
        """The prompts, and whether they were given as a batch. Raises ValueError where there is not one kind."""
        if (self.text is None) == (self.input_ids is None):
            raise ValueError("give either text or input_ids")
        prompts: Any = self.text if self.input_ids is None else self.input_ids
        batch = isinstance(prompts, list) and (self.input_ids is None or not prompts or isinstance(prompts[0], list))
        if batch and not prompts:
            raise ValueError("the batch is empty; give at least one prompt")
        return (prompts if batch else [prompts]), batch

    def params_of_each(self, prompts: int) -> list[SamplingParamsBody]:
        """The parameters of every prompt."""
        given = self.sampling_params
        several = given if isinstance(given, list) else [given] * prompts
        if len(several) != prompts:
            raise ValueError(f"{len(several)} sampling_params for {prompts} prompts; give one for all, or one for each")
        return several

    def logprobs(self) -> dict[str, Any]:
        """What of log-probabilities is asked for, as arguments of `SamplingParams`."""
        if not self.return_logprob:
            return {}
        start = self.logprob_start_len if self.logprob_start_len >= 0 else None
        return {"logprobs": True, "top_logprobs": self.top_logprobs_num, "prompt_logprobs_from": start}

    def request_ids(self, prompts: int) -> list[str] | None:
        """The client's names of its requests."""
        if self.rid is None:
            return None
        several = [self.rid] if isinstance(self.rid, str) else self.rid
        if len(several) != prompts:
            raise ValueError(f"{len(several)} rid for {prompts} prompts; give one for each, or none")
        return several
