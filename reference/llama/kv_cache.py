"""Keys and values of the tokens that a stage has seen.

Shapes: L layers of the stage, R rows (one a sequence), K KV heads, S positions, D head size, B batch, T tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from reference.llama.config import LlamaConfig

ALIGNMENT = 64
"""Positions are rounded up to this, so that each layer's memory is aligned alike in whichever stage it lies:
kernels may round differently at another alignment."""

Rows = slice | Tensor
"""Rows of a batch: a slice when they are neighbours (reading is then free), else their numbers, [B]."""


class KVCache:
    """`k` and `v`, each [layers, rows, kv_heads, positions, head_dim], zero at first.

    Positions 0 to max_len - 1 hold tokens; `spare`, beyond them, takes what is written for padding. Which
    sequence owns which row is the scheduler's business.
    """

    def __init__(
        self,
        config: LlamaConfig,
        layers: int,
        rows: int,
        max_len: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        assert layers > 0 and rows > 0 and max_len > 0, f"an empty cache: {layers} layers, {rows} rows, {max_len}"
        self.layers, self.rows, self.max_len, self.spare = layers, rows, max_len, max_len
        positions = -(-(max_len + 1) // ALIGNMENT) * ALIGNMENT
        # Zeros and not what memory held: a masked position weighs 0, and 0 times NaN would be NaN.
        self.k_LRKSD = torch.zeros(
            layers, rows, config.kv_heads, positions, config.head_dim, dtype=dtype, device=device
        )
        self.v_LRKSD = torch.zeros_like(self.k_LRKSD)

    def write(
        self, layer: int, index: tuple[slice, slice] | tuple[Tensor, Tensor], k_BTKD: Tensor, v_BTKD: Tensor
    ) -> None:
        """Stores new keys and values; `index` is (rows, positions) as two slices, or as [B, 1] and [B, T]."""
        self.k_LRKSD[layer].transpose(1, 2)[index] = k_BTKD
        self.v_LRKSD[layer].transpose(1, 2)[index] = v_BTKD

    def read(self, layer: int, rows: Rows, length: int) -> tuple[Tensor, Tensor]:
        """Keys and values [B, K, length, D] of the first `length` positions; a view when `rows` is a slice."""
        assert length <= self.max_len, f"{length} positions of {self.max_len}"
        k_RKSD, v_RKSD = self.k_LRKSD[layer, :, :, :length], self.v_LRKSD[layer, :, :, :length]
        if isinstance(rows, slice):
            return k_RKSD[rows], v_RKSD[rows]
        return k_RKSD.index_select(0, rows), v_RKSD.index_select(0, rows)
