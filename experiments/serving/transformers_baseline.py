"""What serving is measured against: transformers' Llama of the same shape, with the same weights if asked."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, assert_never

import torch
from torch import Tensor

from reference.device import HOST
from reference.llama.config import LinearScaling, Llama3Scaling, LlamaConfig

if TYPE_CHECKING:
    from reference.checkpoint.loader import Checkpoint


def build(shape: LlamaConfig, *, dtype: torch.dtype, device: torch.device) -> Any:
    """A LlamaForCausalLM with random weights, made where it shall be. It ends no text by itself.

    Raises ValueError where transformers is not installed.
    """
    try:
        import transformers
    except ModuleNotFoundError as missing:
        raise ValueError(f"{missing}; install it: pip install transformers") from None
    config = transformers.LlamaConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        rms_norm_eps=shape.rms_eps,
        rope_parameters=rope_parameters(shape),
        attention_bias=shape.attention_bias,
        mlp_bias=shape.mlp_bias,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=shape.max_position,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            model = transformers.LlamaForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(before)
    return model


def rope_parameters(shape: LlamaConfig) -> dict[str, Any]:
    """How transformers names the rotary embedding of a shape, whichever scaling it has."""
    match shape.rope_scaling:
        case None:
            scaling: dict[str, Any] = {"rope_type": "default"}
        case LinearScaling(factor=factor):
            scaling = {"rope_type": "linear", "factor": factor}
        case Llama3Scaling() as llama3:
            scaling = {"rope_type": "llama3", **asdict(llama3)}
            scaling["original_max_position_embeddings"] = scaling.pop("original_max_position")
        case unknown:
            assert_never(unknown)
    return {"rope_theta": shape.rope_theta, **scaling}


def build_with(source: Checkpoint) -> Any:
    """The same on the host in float32, with the weights of a source as our own stages read them."""
    from reference.checkpoint.loader import load_stage
    from reference.checkpoint.state_dict_adapter import state_dict_slices

    shape, home = source.config(), torch.device(HOST)
    model = build(shape, dtype=torch.float32, device=home)
    stage = load_stage(source, shape, range(shape.layers), True, True, torch.float32, home)
    weights = {name: part.memory for name, part in state_dict_slices(stage).items()}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and set(missing) <= ({"lm_head.weight"} if shape.tied else set()), (missing, unexpected)
    return model


def generate(model: Any, prompts: Tensor, count: int, **options: Any) -> Tensor:
    """The `count` next tokens of prompts [B, T], greedily: [B, count]."""
    tokens: Tensor = model.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        max_new_tokens=count,
        do_sample=False,
        pad_token_id=0,
        **options,
    )
    assert tokens.shape == (len(prompts), prompts.shape[1] + count), f"{tokens.shape} is not {count} new tokens"
    return tokens[:, prompts.shape[1] :]


def version() -> str:
    """Of transformers."""
    import transformers

    return str(transformers.__version__)
