"""Prompts and what is asked for with them, made into requests that the pipeline can serve."""

from __future__ import annotations

from collections.abc import Sequence

from reference.llama.config import LlamaConfig
from reference.scheduling.request import Request
from reference.scheduling.sampling_params import SamplingParams


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
