"""SGLang's own HTTP interface: `/generate`, and what its load generators ask for around it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import Field

from reference.engine.outputs import Output
from reference.scheduling.sampling_params import MAX_STOPS, SamplingParams
from reference.server.errors import DOCUMENTED
from reference.server.openai.format import LEAST
from reference.server.schema import (
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
    Top,
    Zero,
    at_least,
)
from reference.server.schema import stops as stop_texts
from reference.server.sse import stream
from reference.server.streaming import Clients

if TYPE_CHECKING:
    from reference.engine.engine import Engine


MOST_WAIT = 600.0
"""Seconds that a client may let the server wait until it is idle."""

GLANCE = 0.05
"""Seconds between two looks whether it is."""


class SamplingParamsBody(Body):
    """How to continue one prompt. Defaults are SGLang's."""

    max_new_tokens: Count = 128
    temperature: Temperature = 1.0
    top_p: Probability = 1.0
    top_k: Annotated[int, Field(ge=-1, lt=2**31, description="-1 or 0: all tokens")] = -1
    sampling_seed: Seed | None = None
    stop: Stop = None
    stop_token_ids: Annotated[list[TokenId], Field(max_length=MAX_STOPS)] | None = None
    ignore_eos: bool = False
    stream_interval: Annotated[Count | None, Field(description="Tokens from one event of a stream to the next")] = None
    n: One = 1
    min_p: Zero = 0
    min_new_tokens: Least = 0
    frequency_penalty: Zero = 0
    presence_penalty: Zero = 0
    repetition_penalty: One = 1
    json_schema: Absent = None
    regex: Absent = None
    ebnf: Absent = None
    stop_regex: Nothing = None
    skip_special_tokens: On = True
    spaces_between_special_tokens: On = True

    def params(self, **logprobs: Any) -> SamplingParams:
        """The same for the engine."""
        params = SamplingParams(
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            top_k=max(0, self.top_k),
            top_p=self.top_p,
            seed=self.sampling_seed,
            stop=stop_texts(self.stop),
            stop_token_ids=tuple(self.stop_token_ids or ()),
            ignore_eos=self.ignore_eos,
            **logprobs,
        )
        return at_least("min_new_tokens", self.min_new_tokens, params)


class GenerateBody(Body):
    """One prompt or a batch, as text or as token ids."""

    text: str | Texts | None = None
    input_ids: Tokens | Batch | None = None
    sampling_params: SamplingParamsBody | Annotated[list[SamplingParamsBody], Few] = SamplingParamsBody()
    return_logprob: bool = False
    logprob_start_len: Annotated[int, Field(ge=-1, lt=2**31, description="-1: of new tokens only")] = -1
    top_logprobs_num: Annotated[Top, Field(description="With return_logprob")] = 0
    return_text_in_logprobs: bool = False
    stream: bool = False
    rid: str | Texts | None = None
    lora_path: Absent = None
    image_data: Absent = None
    token_ids_logprob: Absent = None
    return_routed_experts: Off = False
    return_hidden_states: Off = False

    def prompts(self) -> tuple[list[Any], bool]:
        """The prompts, and whether they were given as a batch. Raises ValueError where there is not one kind."""
        if (self.text is None) == (self.input_ids is None):
            raise ValueError("give either text or input_ids")
        given: Any = self.text if self.input_ids is None else self.input_ids
        batch = isinstance(given, list) and (self.input_ids is None or not given or isinstance(given[0], list))
        if batch and not given:
            raise ValueError("the batch is empty; give at least one prompt")
        return (given if batch else [given]), batch

    def each(self, prompts: int) -> list[SamplingParamsBody]:
        """The parameters of every prompt."""
        given = self.sampling_params
        several = given if isinstance(given, list) else [given] * prompts
        if len(several) != prompts:
            raise ValueError(f"{len(several)} sampling_params for {prompts} prompts; give one for all, or one for each")
        return several

    def ids(self, prompts: int) -> list[str] | None:
        """The client's names of its requests."""
        if self.rid is None:
            return None
        several = [self.rid] if isinstance(self.rid, str) else self.rid
        if len(several) != prompts:
            raise ValueError(f"{len(several)} rid for {prompts} prompts; give one for each, or none")
        return several


class Progress:
    """One prompt's answer so far, in SGLang's words: all text and tokens up to now come with every event."""

    def __init__(self, engine: Engine, name: str, params: SamplingParams, *, pieces: bool, began: float) -> None:
        self._engine, self._name, self._params, self._pieces, self._began = engine, name, params, pieces, began
        self._text: list[str] = []
        self._tokens: list[int] = []
        self._logprobs: dict[str, list[Any]] = {}

    def add(self, output: Output) -> None:
        """Takes in one more token."""
        self._text.append(output.text)
        self._tokens.append(output.token)
        wanted = self._params.logprobs
        if wanted and output.made == 1:
            first = output.prompt_logprobs
            self._logprobs["input_token_logprobs"] = [self._item(item.logprob, item.token) for item in first]
            self._logprobs["input_top_logprobs"] = [self._top(item.top) for item in first]
            self._logprobs.update(output_token_logprobs=[], output_top_logprobs=[])
        if wanted:
            self._logprobs["output_token_logprobs"].append(self._item(output.logprob, output.token))
            self._logprobs["output_top_logprobs"].append(self._top(output.top))

    def show(self, last: Output) -> dict[str, Any]:
        """The answer up to now."""
        shown = (
            self._logprobs if self._params.top_logprobs else {k: v for k, v in self._logprobs.items() if "top" not in k}
        )
        return {
            "text": "".join(self._text),
            "output_ids": self._tokens,
            "meta_info": {
                "id": self._name,
                "finish_reason": self._finish(last),
                "prompt_tokens": last.prompt_tokens,
                "completion_tokens": last.made,
                "cached_tokens": 0,
                "e2e_latency": time.perf_counter() - self._began,
                **shown,
            },
        }

    def _finish(self, last: Output) -> dict[str, Any] | None:
        if last.reason is None:
            return None
        if last.reason == "length":
            return {"type": "length", "length": last.made}
        ends = (*self._params.stop_token_ids, *(() if self._params.ignore_eos else self._engine.shape.eos))
        if last.token in ends:
            return {"type": "stop", "matched": last.token}
        whole = self._engine.tokenizer.decode(self._tokens)
        found = [stop for stop in self._params.stop if stop in whole]
        return {"type": "stop", "matched": min(found, key=whole.index, default=None)}

    def _item(self, logprob: float | None, token: int) -> list[Any]:
        return [finite(logprob), token, self._engine.tokenizer.piece(token) if self._pieces else None]

    def _top(self, top: tuple[tuple[int, float], ...]) -> list[Any] | None:
        return [self._item(logprob, token) for token, logprob in top] or None


def finite(logprob: float | None) -> float | None:
    """JSON has no infinity: a token that cannot come has `LEAST`."""
    return None if logprob is None else max(logprob, LEAST)


def router(engine: Engine, clients: Clients, about: dict[str, Any]) -> APIRouter:
    """The routes. `about`: what /get_server_info tells beside the engine's own state."""
    routes = APIRouter(tags=["SGLang"])

    @routes.post("/generate", responses=DOCUMENTED)
    async def generate(body: GenerateBody, request: Request) -> Any:
        """Continue one prompt or a batch; with `stream`, as server-sent events."""
        prompts, batch = body.prompts()
        names, asked = body.ids(len(prompts)), body.each(len(prompts))
        logprobs: dict[str, Any] = {}
        if body.return_logprob:
            start = body.logprob_start_len
            logprobs = {"logprobs": True, "top_logprobs": body.top_logprobs_num}
            logprobs["prompt_logprobs_from"] = start if start >= 0 else None
        if body.return_text_in_logprobs:
            engine.tokenizer  # noqa: B018 (raises where there is none)
        params = [item.params(**logprobs) for item in asked]
        began = time.perf_counter()
        answer = await clients.ask(request, prompts, params)
        progress = [
            Progress(
                engine,
                f"{id(answer):x}-{index}" if names is None else names[index],
                item,
                pieces=body.return_text_in_logprobs,
                began=began,
            )
            for index, item in enumerate(params)
        ]

        def show(output: Output) -> Iterator[dict[str, Any]]:
            progress[output.index].add(output)
            interval = asked[output.index].stream_interval or 1
            if output.reason is not None or output.made == 1 or output.made % interval == 0:
                yield {**progress[output.index].show(output), **({"index": output.index} if batch else {})}

        if body.stream:
            return stream(answer, show)
        last: dict[int, Output] = {}
        for output in await answer.all():
            progress[output.index].add(output)
            last[output.index] = output
        done = [item.show(last[index]) for index, item in enumerate(progress)]
        return done if batch else done[0]

    @routes.get("/flush_cache", responses={400: DOCUMENTED[400]}, operation_id="flush_cache_by_get")
    @routes.post("/flush_cache", responses={400: DOCUMENTED[400]})
    async def flush_cache(timeout: Annotated[float, Query(ge=0, le=MOST_WAIT)] = 0) -> dict[str, Any]:
        """Succeeds once nothing is under way, within `timeout` seconds: nothing is kept between requests, so there is
        nothing to drop."""
        deadline = time.monotonic() + timeout
        while not engine.flush():
            if time.monotonic() >= deadline:
                raise ValueError("requests are under way; flush when they are done, or give a longer timeout")
            await asyncio.sleep(GLANCE)
        return {"success": True, "message": "nothing is cached between requests"}

    @routes.get("/get_server_info")
    def get_server_info() -> dict[str, Any]:
        """The configuration and the state."""
        state, config = engine.state(), engine.config
        inside = {
            "last_gen_throughput": state.decode_rate,
            "memory_usage": {"token_capacity": config.cache_rows * config.context_length},
            "effective_max_running_requests_per_dp": config.cache_rows,
            "num_running_reqs": state.running,
            "num_queue_reqs": state.waiting,
        }
        return {**about, "internal_states": [inside]}

    routes.get("/server_info", include_in_schema=False)(get_server_info)  # its newer name

    @routes.get("/get_model_info")
    def get_model_info() -> dict[str, Any]:
        """What is served."""
        return {"model_path": about["model_path"], "tokenizer_path": about["tokenizer_path"], "is_generation": True}

    routes.get("/model_info", include_in_schema=False)(get_model_info)

    @routes.get("/health_generate", responses={503: DOCUMENTED[503], 429: DOCUMENTED[429]})
    async def health_generate(request: Request) -> dict[str, Any]:
        """Healthy enough to make one token."""
        await (await clients.ask(request, [[0]], SamplingParams(max_new_tokens=1, ignore_eos=True))).all()
        return {"status": "ok"}

    return routes
