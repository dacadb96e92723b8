"""The shape of a Llama, shapes that are known by name, and how layers are divided among stages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType


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
