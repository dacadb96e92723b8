"""Prompts and what is asked for with them, made into requests that the pipeline can serve."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from operator import index
from random import Random

from reference.checkpoint.tokenizer import TextTokenizer
from reference.engine.detokenizer import StopStringFilter, TextStream
from reference.llama.config import LlamaConfig
from reference.scheduling.request import Request
from reference.scheduling.sampling_params import SamplingParams


class InputProcessor:
    """Makes the requests of one engine. Any thread may call it.

    tokenizer: gives the tokenizer, or raises ValueError where there is none. seed: of the seeds of requests that bring
    none.
    """

    def __init__(
        self, *, tokenizer: Callable[[], TextTokenizer], shape: LlamaConfig, context_length: int, seed: int
    ) -> None:
        self._tokenizer, self._shape, self._context_length = tokenizer, shape, context_length
        self._ids = itertools.count()
        self._seeds = Random(seed)

    def process(
        self, prompts: Sequence[str | Sequence[int]], params: SamplingParams | Sequence[SamplingParams]
    ) -> tuple[list[Request], list[StopStringFilter]]:
        """The request of every prompt, and what makes text of its tokens. ValueError where one cannot be served."""
        if isinstance(prompts, str | bytes):
            raise ValueError(f"prompts is {prompts!r:.60}; give a list of prompts, with one in it")
        requests, texts = [], []
        for prompt, wanted in zip(prompts, broadcast_params(params, len(prompts)), strict=True):
            request = self._request(prompt, wanted)
            check_request(request, context_length=self._context_length, shape=self._shape)
            requests.append(request)
            texts.append(self._stop_string_filter(wanted))
        return requests, texts

    def _request(self, prompt: str | Sequence[int], params: SamplingParams) -> Request:
        return Request(
            id=next(self._ids),
            prompt=self._tokens(prompt),
            max_new_tokens=params.max_new_tokens,
            stop=(*(() if params.ignore_eos else self._shape.eos), *params.stop_token_ids),
            min_new_tokens=params.min_new_tokens,
            sampling=params.spec(self._seeds.getrandbits(62)),
            logprobs=params.logprobs,
            top_logprobs=params.top_logprobs,
            prompt_logprobs_from=params.prompt_logprobs_from,
        )

    def _tokens(self, prompt: str | Sequence[int]) -> tuple[int, ...]:
        try:
            if isinstance(prompt, bytes):
                raise TypeError
            if isinstance(prompt, str):
                prompt = self._tokenizer().encode(prompt, most=self._context_length)
            return tuple(map(index, prompt))
        except TypeError:
            raise ValueError(f"the prompt {prompt!r:.60} is neither a text nor token ids; give one of them") from None

    def _stop_string_filter(self, params: SamplingParams) -> StopStringFilter:
        try:
            return StopStringFilter(TextStream(self._tokenizer()), params.stop)
        except ValueError as missing:
            if params.stop:
                raise ValueError(f"stop strings need a tokenizer: {missing}") from None
            return StopStringFilter(None)


def broadcast_params(params: SamplingParams | Sequence[SamplingParams], prompts: int) -> list[SamplingParams]:
    """The parameters of every prompt; ValueError where they are not as many as the prompts."""
    if isinstance(params, SamplingParams):
        return [params] * prompts
    if len(params) != prompts:
        raise ValueError(f"{len(params)} params for {prompts} prompts; give one for all, or one for each")
    return list(params)


def check_request(request: Request, *, context_length: int, shape: LlamaConfig) -> None:
    """Raises ValueError where a pipeline of this shape could not serve the request; nothing else may enter it."""
    vocabulary, most = shape.vocab_size, shape.max_position
    if not request.prompt:
        raise ValueError("the prompt is empty; give at least one token")
    if request.max_new_tokens < 1:
        raise ValueError(f"max_new_tokens is {request.max_new_tokens}; give 1 or more")
    length = len(request.prompt) + request.max_new_tokens
    if length > context_length:
        raise ValueError(
            f"a prompt of {len(request.prompt)} tokens and {request.max_new_tokens} new ones make {length}, "
            f"more than the cache holds ({context_length}); ask for fewer"
            + (", or raise context_length" if context_length < most else f": the model has {most} positions")
        )
    if min(request.prompt) < 0 or max(request.prompt) >= vocabulary:
        wrong = next(token for token in request.prompt if not 0 <= token < vocabulary)
        raise ValueError(f"token {wrong} of the prompt is not in the vocabulary (0 to {vocabulary - 1})")
    if request.top_logprobs > vocabulary:
        raise ValueError(
            f"top_logprobs is {request.top_logprobs}; the vocabulary has {vocabulary} tokens, ask for fewer"
        )
    if request.prompt_logprobs_from is not None and request.prompt_logprobs_from >= len(request.prompt):
        raise ValueError(
            f"log-probabilities are asked for from position {request.prompt_logprobs_from} of the prompt on, "
            f"which has {len(request.prompt)} tokens; give 0 to {len(request.prompt) - 1}"
        )
