"""Requests and tokens as JSON, and back."""

import json
from dataclasses import replace

import pytest

from reference.scheduling.messages import (
    decode_input,
    decode_tokens,
    encode_input,
    encode_tokens,
    join_inputs,
    says_stop,
)
from reference.scheduling.request import NewToken, SamplingSpec, SchedulerInput, TokenLogprob
from tests.reference.small_ring import ask


def test_scheduler_input_travels() -> None:
    sampling = SamplingSpec(temperature=0.5, top_k=3, top_p=0.9, seed=-(2**63))
    request = replace(ask(3, stop=(1, 2)), sampling=sampling, logprobs=True, top_logprobs=2, prompt_logprobs_from=0)
    something = SchedulerInput(requests=(request,), aborts=(4,), stop=True)
    assert decode_input(encode_input(something)) == something
    assert encode_input(SchedulerInput()) == b""
    assert decode_input(b"") == SchedulerInput()
    assert SchedulerInput(requests=(ask(1),)) + SchedulerInput(aborts=(1,)) == SchedulerInput(
        requests=(ask(1),), aborts=(1,)
    )


def test_joined_messages_are_read_as_one_and_a_stop_is_seen_first() -> None:
    parts = [
        SchedulerInput(requests=(ask(1), ask(2))),
        SchedulerInput(),
        SchedulerInput(stop=True),
        SchedulerInput(requests=(ask(0),), aborts=(1,)),
    ]
    message = join_inputs(map(encode_input, parts))
    assert decode_input(message) == SchedulerInput(requests=(ask(1), ask(2), ask(0)), aborts=(1,), stop=True)
    assert says_stop(message)
    assert not says_stop(join_inputs(map(encode_input, parts[:2])))
    assert join_inputs([]) == b""


@pytest.mark.parametrize("data", [[], {"requests": [{"id": 1, "speed": 2}]}, {"surprise": 1}, {"stop": True}])
def test_other_input_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match="its fields are"):
        decode_input(json.dumps(data).encode())


def test_tokens_travel() -> None:
    scored = (TokenLogprob(token=3, logprob=None), TokenLogprob(token=4, logprob=-0.1, top=((4, -0.1), (5, -2.5))))
    tokens = [
        NewToken(request=1, token=2),
        NewToken(request=2, token=0, reason="stop", logprob=-1.5, top=((0, -1.5),)),
        NewToken(request=3, token=1, prompt_logprobs=scored),
    ]
    assert decode_tokens(json.loads(json.dumps(encode_tokens(tokens)))) == tokens
