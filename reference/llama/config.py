"""What a Llama checkpoint says of itself, and the shapes that are known by name."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any


def _check_positive(of: object, names: tuple[str, ...]) -> None:
    for name in names:
        value = getattr(of, name)
        if not 0 < value < math.inf:
            raise ValueError(f"{name} is {value}; give a number above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Llama3Scaling:
    """Rope scaling of Llama 3.1: long wavelengths are stretched by `factor`, short ones kept, those between blended.

    Source: the model card and `rope_type` "llama3" of Hugging Face configurations.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position: int

    def __post_init__(self) -> None:
        _check_positive(self, ("factor", "low_freq_factor", "high_freq_factor"))
        if self.low_freq_factor >= self.high_freq_factor:
            raise ValueError(f"low_freq_factor is {self.low_freq_factor}; give less than {self.high_freq_factor}")
        if not 0 < self.original_max_position < 2**31:
            raise ValueError(f"original_max_position_embeddings is {self.original_max_position}; give 1 to {2**31 - 1}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearScaling:
    """Rope scaling that stretches all wavelengths by `factor`; `rope_type` "linear" of Hugging Face configurations."""

    factor: float

    def __post_init__(self) -> None:
        _check_positive(self, ("factor",))


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaConfig:
    """The shape of a Llama. Raises ValueError when the numbers do not fit together."""

    vocab_size: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    rms_eps: float
    rope_theta: float
    rope_scaling: Llama3Scaling | LinearScaling | None = None
    attention_bias: bool = False
    mlp_bias: bool = False
    tied: bool
    max_position: int
    eos: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "hidden", "layers", "heads", "kv_heads", "head_dim", "intermediate", "max_position")
        for name in sizes:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give 1 or more")
        _check_positive(self, ("rms_eps", "rope_theta"))
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} heads cannot share {self.kv_heads} KV heads evenly; give a divisor")
        if self.head_dim % 2:
            raise ValueError(f"head_dim is {self.head_dim}; rope turns pairs, so give an even one")

    @classmethod
    def from_hf(cls, folder: Path) -> LlamaConfig:
        """The shape that a Hugging Face folder's config.json gives, as version 4 or 5 of transformers wrote it.

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

    @property
    def parameters(self) -> int:
        """Number of weights, a tied table counted once."""
        attention = 2 * self.hidden * self.head_dim * (self.heads + self.kv_heads)
        layer = attention + 3 * self.hidden * self.intermediate + 2 * self.hidden
        layer += self.attention_bias * (self.hidden + self.head_dim * (self.heads + 2 * self.kv_heads))
        layer += self.mlp_bias * (self.hidden + 2 * self.intermediate)
        tables = (1 if self.tied else 2) * self.vocab_size * self.hidden
        return self.layers * layer + tables + self.hidden


def partition_layers(layers: int, stages: int) -> list[range]:
    """Layers of each stage, in order, as even as can be: the first `layers % stages` stages have one more.

    The earlier ones are larger because the last also has the head. Raises ValueError when there are fewer
    layers than stages, or no stage.
    """
    if stages < 1:
        raise ValueError(f"{stages} pipeline stages; give 1 or more")
    if stages > layers:
        raise ValueError(f"{stages} pipeline stages for {layers} layers leave a stage empty; give at most {layers}")
    size, larger = divmod(layers, stages)
    cuts = [stage * size + min(stage, larger) for stage in range(stages + 1)]
    return [range(begin, end) for begin, end in pairwise(cuts)]


SHAPES: Mapping[str, LlamaConfig] = MappingProxyType(
    {
        "llama-3.1-8b": LlamaConfig(
            vocab_size=128256,
            hidden=4096,
            layers=32,
            heads=32,
            kv_heads=8,
            head_dim=128,
            intermediate=14336,
            rms_eps=1e-5,
            rope_theta=500000.0,
            rope_scaling=Llama3Scaling(
                factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position=8192
            ),
            tied=False,
            max_position=131072,
            eos=(128001,),
        ),
        "smollm2": LlamaConfig(
            vocab_size=49152,
            hidden=576,
            layers=30,
            heads=9,
            kv_heads=3,
            head_dim=64,
            intermediate=1536,
            rms_eps=1e-5,
            rope_theta=100000.0,
            tied=True,
            max_position=8192,
            eos=(2,),
        ),
        "tiny": LlamaConfig(
            vocab_size=256,
            hidden=64,
            layers=6,
            heads=4,
            kv_heads=2,
            head_dim=16,
            intermediate=128,
            rms_eps=1e-5,
            rope_theta=10000.0,
            tied=False,
            max_position=512,
        ),
    }
)


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


PLAIN: Mapping[str, tuple[object, ...]] = {
    "model_type": ("llama",),
    "hidden_act": ("silu",),
    "quantization_config": (None,),
    "partial_rotary_factor": (1.0, None),
}
"""Values that the stage implements; the first is the default of a key that is absent, but for the model type."""


def _refuse_other_models(raw: Mapping[str, Any]) -> None:
    given: dict[str, object] = {
        "model_type": raw["model_type"],
        **{key: raw.get(key, allowed[0]) for key, allowed in PLAIN.items()},
    }
    for key, value in given.items():
        if value not in PLAIN[key]:
            raise ValueError(
                f"{key} is {value!r}, but only {PLAIN[key][0]!r} is implemented; choose another checkpoint"
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
