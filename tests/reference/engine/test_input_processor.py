"""What is asked for with prompts, and which requests cannot be served."""

from dataclasses import replace

import pytest

from reference.engine.input_processor import broadcast_params, check_request
from reference.llama.config import SHAPES
from reference.scheduling.request import Request
from reference.scheduling.sampling_params import SamplingParams

SHAPE = replace(SHAPES["tiny"], vocab_size=97)


def test_params_are_for_all_prompts_or_for_broadcast_params() -> None:
    one, other = SamplingParams(), SamplingParams(top_k=1)
    assert broadcast_params(one, 2) == [one, one]
    assert broadcast_params([one, other], 2) == [one, other]
    with pytest.raises(ValueError, match="1 params for 2 prompts"):
        broadcast_params([one], 2)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(id=0, prompt=(), max_new_tokens=1), "the prompt is empty"),
        (Request(id=0, prompt=(1,), max_new_tokens=0), "max_new_tokens is 0"),
        (Request(id=0, prompt=(1,) * 9, max_new_tokens=2), r"make 11, more than the cache holds \(10\)"),
        (Request(id=0, prompt=(1, 97), max_new_tokens=1), "token 97 of the prompt is not in the vocabulary"),
        (Request(id=0, prompt=(-1,), max_new_tokens=1), "token -1 of the prompt"),
        (Request(id=0, prompt=(1,), max_new_tokens=1, top_logprobs=98), "top_logprobs is 98; the vocabulary has 97"),
        (
            Request(id=0, prompt=(1,), max_new_tokens=1, prompt_logprobs_from=1),
            "from position 1 of the prompt on, which has 1 tokens",
        ),
    ],
)
def test_what_cannot_be_served_is_refused(request_: Request, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_request(request_, context_length=10, shape=SHAPE)


def test_a_request_that_just_fits_is_accepted() -> None:
    check_request(Request(id=0, prompt=(96,) * 9, max_new_tokens=1), context_length=10, shape=SHAPE)


@pytest.mark.parametrize(
    ("context_length", "remedy"),
    [(10, "ask for fewer, or raise context_length$"), (512, "ask for fewer: the model has 512 positions$")],
)
def test_a_longer_cache_is_offered_only_where_the_model_has_the_positions(context_length: int, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        check_request(Request(id=0, prompt=(1,), max_new_tokens=512), context_length=context_length, shape=SHAPE)
