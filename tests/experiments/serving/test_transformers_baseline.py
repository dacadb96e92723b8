"""The Llama of transformers has the shape that it is given: its rope, whatever the scaling, and its biases."""

from dataclasses import replace
from types import NoneType
from typing import get_args, get_type_hints

import pytest
import torch

from experiments.serving.transformers_baseline import build, build_with, generate
from reference.checkpoint.loader import resolve_checkpoint
from reference.device import HOST
from reference.llama.config import SHAPES, LinearScaling, Llama3Scaling, LlamaConfig
from reference.llama.rope import rope_frequencies

SCALINGS = (
    None,
    LinearScaling(factor=4.0),
    Llama3Scaling(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position=64),
)
TINY = replace(SHAPES["tiny"], rope_scaling=None)


def test_every_kind_of_scaling_is_tested() -> None:
    kinds = get_args(get_type_hints(LlamaConfig)["rope_scaling"])
    assert {NoneType if scaling is None else type(scaling) for scaling in SCALINGS} == set(kinds)


@pytest.mark.parametrize("scaling", SCALINGS, ids=lambda scaling: type(scaling).__name__)
def test_its_rope_turns_as_ours(scaling: LinearScaling | Llama3Scaling | None) -> None:
    shape, host = replace(TINY, rope_scaling=scaling), torch.device(HOST)
    model = build(shape, dtype=torch.float32, device=host)
    torch.testing.assert_close(model.model.rotary_emb.inv_freq, rope_frequencies(shape, host))


def test_scalings_differ_at_this_size() -> None:
    angles = [rope_frequencies(replace(TINY, rope_scaling=scaling), torch.device(HOST)) for scaling in SCALINGS]
    assert not any(torch.equal(one, other) for one, other in zip(angles, angles[1:] + angles[:1], strict=True))


@pytest.mark.parametrize("biases", [{}, {"attention_bias": True}, {"mlp_bias": True}])
def test_it_has_the_biases_of_the_shape(biases: dict[str, bool]) -> None:
    model = build(replace(TINY, **biases), dtype=torch.float32, device=torch.device(HOST))
    names = [name for name, _ in model.named_parameters() if name.endswith(".bias")]
    assert any(".self_attn." in name for name in names) is biases.get("attention_bias", False)
    assert any(".mlp." in name for name in names) is biases.get("mlp_bias", False)


def test_it_generates_with_weights_of_ours() -> None:
    model = build_with(resolve_checkpoint("tiny", "random", 0))
    assert generate(model, torch.tensor([[1, 2, 3]]), 4).shape == (1, 4)
