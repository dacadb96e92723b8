"""The shape of a Llama from the config.json of a Hugging Face folder, as version 4 or 5 of transformers wrote it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reference.llama.config import LinearScaling, Llama3Scaling, LlamaConfig


def read_hf_config(folder: Path) -> LlamaConfig:
    """The shape that a folder's config.json gives, with the end tokens of its generation_config.json.

    Raises ValueError when the file is missing or unreadable, lacks a value, or asks for something that a
    plain Llama does not have.
    """
    path = folder / "config.json"
    raw = _read_json(path)
    try:
        return _from_raw(raw, _end_tokens(raw, folder / "generation_config.json"))
    except KeyError as missing:
        raise ValueError(f"{path}: {missing} is missing; is this the config.json of a Llama checkpoint?") from None
    except ValueError as wrong:
        raise ValueError(f"{path}: {wrong}") from None


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path} does not exist; name a folder with config.json and *.safetensors files")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as wrong:
        raise ValueError(f"{path} is not JSON ({wrong}); fetch the file again") from None
    if not isinstance(raw, dict):
        raise ValueError(f"{path} holds no JSON object; fetch the file again")
    return raw


def _from_raw(raw: Mapping[str, Any], eos: tuple[int, ...]) -> LlamaConfig:
    _refuse_other_models(raw)
    raw = {key: value for key, value in raw.items() if value is not None}  # null is as good as absent
    heads, hidden = _whole(raw, "num_attention_heads"), _whole(raw, "hidden_size")
    rope = _rope(raw)
    return LlamaConfig(
        vocab_size=_whole(raw, "vocab_size"),
        hidden=hidden,
        layers=_whole(raw, "num_hidden_layers"),
        heads=heads,
        kv_heads=_whole(raw, "num_key_value_heads", heads),
        head_dim=_whole(raw, "head_dim", hidden // max(heads, 1)),
        intermediate=_whole(raw, "intermediate_size"),
        rms_eps=_number(raw, "rms_norm_eps"),
        rope_theta=_number(rope, "rope_theta"),
        rope_scaling=_scaling(rope),
        attention_bias=_flag(raw, "attention_bias"),
        mlp_bias=_flag(raw, "mlp_bias"),
        tied=_flag(raw, "tie_word_embeddings"),
        max_position=_whole(raw, "max_position_embeddings"),
        eos=eos,
    )


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _whole(raw: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value: int = raw[key] if default is None else raw.get(key, default)
    if not _is_whole(value):
        raise _wrong(key, value, "a whole number")
    return value


def _number(raw: Mapping[str, Any], key: str) -> float:
    value = raw[key]
    if not (_is_whole(value) or isinstance(value, float)) or not abs(value) <= sys.float_info.max:  # or nan
        raise _wrong(key, value, "a finite number")
    return float(value)


def _flag(raw: Mapping[str, Any], key: str) -> bool:
    value = raw.get(key, False)
    if not isinstance(value, bool):
        raise _wrong(key, value, "true or false")
    return value


def _wrong(key: str, value: object, wanted: str) -> ValueError:
    return ValueError(f"{key} is {value!r:.60}, where {wanted} belongs; fetch the file again")


ONLY_VALUES: Mapping[str, tuple[object, ...]] = {
    "model_type": ("llama",),
    "hidden_act": ("silu",),
    "quantization_config": (None,),
    "partial_rotary_factor": (1.0, None),
}
"""Values that the stage implements; the first is the default of a key that is absent, but for the model type."""


def _refuse_other_models(raw: Mapping[str, Any]) -> None:
    given: dict[str, object] = {
        "model_type": raw["model_type"],
        **{key: raw.get(key, allowed[0]) for key, allowed in ONLY_VALUES.items()},
    }
    for key, value in given.items():
        if value not in ONLY_VALUES[key]:
            raise ValueError(
                f"{key} is {value!r}, but only {ONLY_VALUES[key][0]!r} is implemented; choose another checkpoint"
            )


def _rope(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """As version 5 of transformers writes it: the base and its scaling in one object."""
    for key in ("rope_parameters", "rope_scaling"):
        if not isinstance(raw.get(key, {}), dict):
            raise _wrong(key, raw[key], "an object or null")
    return raw.get("rope_parameters") or {"rope_theta": raw.get("rope_theta", 10000.0), **raw.get("rope_scaling", {})}


def _scaling(rope: Mapping[str, Any]) -> Llama3Scaling | LinearScaling | None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    if kind == "linear":
        return LinearScaling(factor=_number(rope, "factor"))
    if kind != "llama3":
        raise ValueError(
            f"rope type {kind!r} is not implemented, default, linear and llama3 are; choose another checkpoint"
        )
    return Llama3Scaling(
        factor=_number(rope, "factor"),
        low_freq_factor=_number(rope, "low_freq_factor"),
        high_freq_factor=_number(rope, "high_freq_factor"),
        original_max_position=_whole(rope, "original_max_position_embeddings"),
    )


def _end_tokens(raw: Mapping[str, Any], generation: Path) -> tuple[int, ...]:
    # Instruction-tuned checkpoints name their end of turn only in generation_config.json.
    sources = [_read_json(generation), raw] if generation.is_file() else [raw]
    given: Any = next((source["eos_token_id"] for source in sources if source.get("eos_token_id") is not None), [])
    tokens = given if isinstance(given, list) else [given]
    if not all(map(_is_whole, tokens)):
        raise _wrong("eos_token_id", given, "a token id, or a list of such,")
    return tuple(tokens)
