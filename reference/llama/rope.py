"""Rotary position embedding: the angle of each pair of a head at each position, and the turn.

Shape suffixes as in `reference.llama.stage`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from reference.llama.config import LinearScaling, LlamaConfig


def rope_frequencies(config: LlamaConfig, device: torch.device) -> Tensor:
    """Angle per position of each pair of a head, [E] float32, scaled as the config has it."""
    exponent_E = torch.arange(0, config.head_dim, 2, device=device, dtype=torch.float32) / config.head_dim
    plain_E = 1.0 / config.rope_theta**exponent_E
    scaling = config.rope_scaling
    if scaling is None:
        return plain_E
    if isinstance(scaling, LinearScaling):
        return plain_E / scaling.factor
    turns_E = scaling.original_max_position * plain_E / (2 * math.pi)  # full turns within the original context
    keep_E = (turns_E - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    keep_E = keep_E.clamp(0.0, 1.0)
    return (1 - keep_E) * plain_E / scaling.factor + keep_E * plain_E


def rotate(x_BTXD: Tensor, cos_BT1E: Tensor, sin_BT1E: Tensor) -> Tensor:
    """Rope: turns the pairs (d, d + E) of each head. X is any number of heads."""
    a_BTXE, b_BTXE = x_BTXD.chunk(2, dim=-1)
    return torch.cat((a_BTXE * cos_BT1E - b_BTXE * sin_BT1E, b_BTXE * cos_BT1E + a_BTXE * sin_BT1E), dim=-1)
