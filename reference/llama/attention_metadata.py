"""Where the new tokens of a forward lie in the KV cache, and which positions each of them may attend to.

Shape suffixes as in `reference.llama.stage`: B batch, T new tokens (padded on the right), S positions of the cache.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from reference.llama.kv_cache import KVCache, Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardBatch:
    """Which sequences a forward is for: sequence b lies in cache row `rows[b]`, where `start[b]` of its tokens
    are already, and brings `length[b]` new ones.

    These are numbers of the host, so that no kernel launch waits for a device.
    """

    rows: tuple[int, ...]
    start: tuple[int, ...]
    length: tuple[int, ...]

    def __post_init__(self) -> None:
        assert len(self.rows) == len(self.start) == len(self.length) > 0, f"not one batch: {self}"
        assert len(set(self.rows)) == len(self.rows), f"two sequences share a row: {self.rows}"
        assert min(self.start) >= 0 and min(self.length) > 0, f"no tokens: start {self.start}, length {self.length}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionMetadata:
    """What attention in every layer needs to know of a batch, made once a forward.

    rows: cache rows of the sequences. index: (rows, positions) to which new keys and values are written.
    positions_BT: int64, of the new tokens. span: S. mask_B1TS: added to the scores, or None where there is nothing to
    mask. causal: the mask is the square triangle, for which no tensor is made.
    """

    rows: Rows
    index: tuple[slice, slice] | tuple[Tensor, Tensor]
    positions_BT: Tensor
    span: int
    mask_B1TS: Tensor | None
    causal: bool


def build_attention_metadata(batch: ForwardBatch, tokens: int, cache: KVCache, like: Tensor) -> AttentionMetadata:
    """The metadata of a batch of `tokens` padded new tokens each, for tensors of `like`'s dtype and device."""
    device, span = cache.k_LRKSD.device, max(s + n for s, n in zip(batch.start, batch.length, strict=True))
    assert max(batch.length) <= tokens, f"lengths {batch.length} of {tokens} tokens"
    assert span <= cache.max_len, f"position {span - 1} in a cache of {cache.max_len}"
    assert min(batch.rows) >= 0 and max(batch.rows) < cache.rows, f"rows {batch.rows} in a cache of {cache.rows}"
    first, count = batch.rows[0], len(batch.rows)
    neighbours = batch.rows == tuple(range(first, first + count))
    same_start = len(set(batch.start)) == 1  # all sequences are equally far
    full = min(batch.length) == tokens

    start_B1 = torch.tensor(batch.start, device=device)[:, None]
    step_T = torch.arange(tokens, device=device)
    positions_BT = start_B1 + step_T
    rows: Rows = slice(first, first + count) if neighbours else torch.tensor(batch.rows, device=device)
    index: tuple[slice, slice] | tuple[Tensor, Tensor]
    if neighbours and same_start and full:
        index = (slice(first, first + count), slice(batch.start[0], span))
    else:
        length_B1 = torch.tensor(batch.length, device=device)[:, None]
        rows_B1 = torch.tensor(batch.rows, device=device)[:, None]
        index = (rows_B1, torch.where(step_T < length_B1, positions_BT, cache.spare))

    causal = tokens > 1 and max(batch.start) == 0
    mask_B1TS = None
    if not causal and not (tokens == 1 and same_start):
        positions_S = torch.arange(span, device=device)
        seen_BTS = positions_S <= positions_BT[: 1 if same_start else count, :, None]
        mask_B1TS = torch.zeros(seen_BTS.shape, dtype=like.dtype, device=device).masked_fill_(~seen_BTS, -math.inf)[
            :, None
        ]
    return AttentionMetadata(
        rows=rows, index=index, positions_BT=positions_BT, span=span, mask_B1TS=mask_B1TS, causal=causal
    )
