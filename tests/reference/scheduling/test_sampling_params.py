"""What a client may ask for."""

from dataclasses import fields
from typing import Any

import pytest

from reference.cli.generate import SAMPLING_FIELDS, Generate
from reference.scheduling.request import SamplingSpec
from reference.scheduling.sampling_params import SamplingParams


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0; give 1 or more"),
        ({"max_new_tokens": 2**31}, "max_new_tokens is 2147483648; give 1 to 2147483647"),
        ({"max_new_tokens": 1.5}, "max_new_tokens is 1.5; give a whole number"),
        ({"max_new_tokens": True}, "max_new_tokens is True; give a whole number"),
        ({"min_new_tokens": -1}, "min_new_tokens is -1; give 0 or more"),
        ({"min_new_tokens": 17}, "min_new_tokens is 17; give max_new_tokens (16) at most"),
        ({"min_new_tokens": 2, "stop": ("x",)}, "min_new_tokens is 2, and stop 'x'; give one of the two"),
        ({"temperature": -0.1}, "temperature is -0.1; give 0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"temperature": float("inf")}, "temperature is inf"),
        ({"temperature": 10**400}, "temperature is 1000"),
        ({"temperature": "hot"}, "temperature is hot"),
        ({"top_p": 0}, "top_p is 0; give more than 0"),
        ({"top_p": 1.01}, "top_p is 1.01"),
        ({"top_p": float("nan")}, "top_p is nan"),
        ({"top_k": -1}, "top_k is -1; give 0 or more"),
        ({"top_k": 2.0}, "top_k is 2.0; give a whole number"),
        ({"seed": 2**63}, "seed is 9223372036854775808"),
        ({"stop": ("",)}, "stop is ''; give texts of one character or more"),
        ({"stop": (7,)}, "stop is 7"),
        ({"stop": ("x",) * 65}, "stop has 65 items; give 64 at most"),
        ({"stop_token_ids": (-1,)}, "stop_token_ids is -1"),
        ({"stop_token_ids": ("a",)}, "stop_token_ids is 'a'; give a whole number"),
        ({"top_logprobs": 1}, "top_logprobs is 1 without logprobs"),
        ({"logprobs": True, "top_logprobs": 101}, "top_logprobs is 101; give 0 to 100"),
        ({"prompt_logprobs_from": -1}, "prompt_logprobs_from is -1; give 0 or more"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_in_one_line(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as refused:
        SamplingParams(**wrong)
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_a_stop_may_be_one_text_or_several() -> None:
    assert SamplingParams(stop="end").stop == ("end",)  # type: ignore[arg-type]
    assert SamplingParams(stop=["a", "b"]).stop == ("a", "b")  # type: ignore[arg-type]


def test_sampling_follows_the_parameters() -> None:
    assert SamplingParams(seed=3).spec(9) == SamplingSpec()
    assert SamplingParams(temperature=1e-9, top_k=4).spec(9) == SamplingSpec()
    drawn = SamplingParams(temperature=1, top_k=4, top_p=0.5)
    assert drawn.spec(9) == SamplingSpec(temperature=1.0, top_k=4, top_p=0.5, seed=9)
    assert SamplingParams(temperature=1, seed=0).spec(9).seed == 0


def test_the_command_line_asks_for_them_all_with_the_same_defaults() -> None:
    asked = {field.name: field.default for field in fields(Generate)}
    params = {field.name: field.default for field in fields(SamplingParams)}
    assert {name: asked[name] for name in SAMPLING_FIELDS} == {name: params[name] for name in SAMPLING_FIELDS}
    assert set(params) - set(SAMPLING_FIELDS) == {"seed", "prompt_logprobs_from"}
