"""Attention of a decode step, in Triton: of one new token a sequence, with rope and the write to the cache.

Shapes: B sequences, R rows and S positions of the cache, D head size, E half of it, G query heads that share a KV head,
padded to what a matrix unit takes.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from reference.llama.decode_kernels import MIN_TILE

SPLITS = 4
"""Parts into which the positions of one sequence are cut, so that a few sequences keep a whole device busy."""


@triton.jit
def _join_parts(parts, stats, first, G: tl.constexpr, D: tl.constexpr, SPLITS: tl.constexpr):
    """The attention [G, D] of a pair from its parts `first` to `first` + SPLITS - 1; arrays as of `_attention`."""
    g, d = tl.arange(0, G), tl.arange(0, D)
    most_G = tl.load(stats + first * 2 * G + g, cache_modifier=".cg")
    for other in tl.static_range(1, SPLITS):
        most_G = tl.maximum(most_G, tl.load(stats + (first + other) * 2 * G + g, cache_modifier=".cg"))
    total_G = tl.zeros((G,), tl.float32)
    sums_GD = tl.zeros((G, D), tl.float32)
    for other in tl.static_range(0, SPLITS):
        at_G = stats + (first + other) * 2 * G + g
        fade_G = tl.exp(tl.load(at_G, cache_modifier=".cg") - most_G)
        total_G += fade_G * tl.load(at_G + G, cache_modifier=".cg")
        part_at = parts + ((first + other) * G + g)[:, None] * D + d[None, :]
        sums_GD += fade_G[:, None] * tl.load(part_at, cache_modifier=".cg")
    return sums_GD / total_G[:, None]


@triton.jit
def _attention(
    qkv,
    k_cache,
    v_cache,
    rows,
    starts,
    frequencies,
    out,
    parts,
    stats,
    arrived,
    scale,
    row_stride,
    head_stride,
    KV: tl.constexpr,
    GROUP: tl.constexpr,
    D: tl.constexpr,
    G: tl.constexpr,
    TILE_S: tl.constexpr,
    SPLITS: tl.constexpr,
):
    """Attention of one new token of each sequence; program (b * KV + kv, split) of a grid (B * KV, SPLITS) has one KV
    head, its GROUP query heads, and one part of the positions. The last of a pair to arrive puts its parts together.

    qkv [B, (GROUP + 2) * KV * D], contiguous: of a sequence the query heads, then the key heads, then the value heads.
    out [B, KV * GROUP * D], contiguous. k_cache, v_cache [R, KV, S, D]: strides (row_stride, head_stride, D, 1), in
    elements. rows, starts int64 [B]: row of the cache, -1 for padding, and tokens there so far. frequencies float32
    [E]. Contiguous are parts float32 [B * KV, SPLITS, G, D], stats float32 [B * KV, SPLITS, 2, G] (maxima, sums) and
    arrived int32 [B * KV], which is 0 before and after. G is a power of two from GROUP on.
    """
    pair, split = tl.program_id(0), tl.program_id(1)
    b, kv = pair // KV, pair % KV
    row = tl.load(rows + b).to(tl.int64)
    if row >= 0:  # else padding
        E: tl.constexpr = D // 2
        start = tl.load(starts + b).to(tl.int32)
        g, e, d = tl.arange(0, G), tl.arange(0, E), tl.arange(0, D)
        angle_E = start.to(tl.float32) * tl.load(frequencies + e)
        cos_E, sin_E = tl.cos(angle_E), tl.sin(angle_E)
        mine = qkv + b * (GROUP + 2) * KV * D
        q_at = mine + (kv * GROUP + g)[:, None] * D + e[None, :]
        a_GE = tl.load(q_at, mask=g[:, None] < GROUP, other=0.0).to(tl.float32)
        b_GE = tl.load(q_at + E, mask=g[:, None] < GROUP, other=0.0).to(tl.float32)
        kind = k_cache.dtype.element_ty
        qa_GE = (a_GE * cos_E[None, :] - b_GE * sin_E[None, :]).to(kind)
        qb_GE = (b_GE * cos_E[None, :] + a_GE * sin_E[None, :]).to(kind)

        k_base = k_cache + row * row_stride + kv * head_stride
        v_base = v_cache + row * row_stride + kv * head_stride
        most_G = tl.full((G,), -float("inf"), tl.float32)
        total_G = tl.zeros((G,), tl.float32)
        sums_GD = tl.zeros((G, D), tl.float32)
        if split == 0:  # the new token, which goes to the cache and is not read from there
            k_at = mine + (KV * GROUP + kv) * D
            a_E = tl.load(k_at + e).to(tl.float32)
            b_E = tl.load(k_at + E + e).to(tl.float32)
            ka_E = (a_E * cos_E - b_E * sin_E).to(kind)
            kb_E = (b_E * cos_E + a_E * sin_E).to(kind)
            v_D = tl.load(mine + (KV * GROUP + KV + kv) * D + d)
            tl.store(k_base + start * D + e, ka_E)
            tl.store(k_base + start * D + E + e, kb_E)
            tl.store(v_base + start * D + d, v_D)
            scores_G = tl.sum(qa_GE.to(tl.float32) * ka_E.to(tl.float32)[None, :], 1)
            most_G = (scores_G + tl.sum(qb_GE.to(tl.float32) * kb_E.to(tl.float32)[None, :], 1)) * scale
            total_G += 1.0
            sums_GD += v_D.to(tl.float32)[None, :]

        share = tl.cdiv(tl.cdiv(start, SPLITS), TILE_S) * TILE_S
        end = tl.minimum(start, (split + 1) * share)
        for at in range(split * share, end, TILE_S):
            s = at + tl.arange(0, TILE_S)
            old = s < end
            k_at = k_base + s[:, None] * D + e[None, :]
            ka_SE = tl.load(k_at, mask=old[:, None], other=0.0)
            kb_SE = tl.load(k_at + E, mask=old[:, None], other=0.0)
            v_SD = tl.load(v_base + s[:, None] * D + d[None, :], mask=old[:, None], other=0.0)
            scores_GS = tl.dot(qa_GE, tl.trans(ka_SE), input_precision="ieee")
            scores_GS = tl.dot(qb_GE, tl.trans(kb_SE), scores_GS, input_precision="ieee") * scale
            scores_GS = tl.where(old[None, :], scores_GS, -float("inf"))
            higher_G = tl.maximum(most_G, tl.max(scores_GS, 1))
            weights_GS = tl.exp(scores_GS - higher_G[:, None])
            fade_G = tl.exp(most_G - higher_G)
            total_G = total_G * fade_G + tl.sum(weights_GS, 1)
            sums_GD = sums_GD * fade_G[:, None]
            sums_GD = tl.dot(weights_GS.to(kind), v_SD, sums_GD, input_precision="ieee")
            most_G = higher_G

        part = pair * SPLITS + split
        tl.store(parts + (part * G + g)[:, None] * D + d[None, :], sums_GD)
        tl.store(stats + part * 2 * G + g, most_G)
        tl.store(stats + (part * 2 + 1) * G + g, total_G)
        tl.debug_barrier()  # all of the part is written before it counts as arrived
        if tl.atomic_add(arrived + pair, 1) == SPLITS - 1:  # the last of the pair puts the parts together
            done_GD = _join_parts(parts, stats, pair * SPLITS, G, D, SPLITS)
            out_at = out + (b * KV * GROUP + kv * GROUP + g)[:, None] * D + d[None, :]
            tl.store(out_at, done_GD.to(out.dtype.element_ty), mask=g[:, None] < GROUP)
            tl.store(arrived + pair, 0)


class Attention:
    """Rope, the cache's new entries and attention for one new token of each of up to `batch` sequences.

    Holds the memory in which the parts of a sequence meet; the layers of a stage share one.
    """

    def __init__(self, *, batch: int, heads: int, kv_heads: int, head_dim: int, device: torch.device) -> None:
        self._kv, self._group, self._head_dim = kv_heads, heads // kv_heads, head_dim
        self._padded = max(MIN_TILE, triton.next_power_of_2(self._group))
        pairs = batch * kv_heads
        self._parts = torch.empty(pairs, SPLITS, self._padded, head_dim, dtype=torch.float32, device=device)
        self._stats = torch.empty(pairs, SPLITS, 2, self._padded, dtype=torch.float32, device=device)
        self._arrived = torch.zeros(pairs, dtype=torch.int32, device=device)

    def __call__(
        self,
        qkv: Tensor,
        k_RKSD: Tensor,
        v_RKSD: Tensor,
        rows_B: Tensor,
        starts_B: Tensor,
        frequencies_E: Tensor,
        out: Tensor,
    ) -> None:
        """qkv: [B, (heads + 2 kv_heads) D]. rows_B: of the cache, -1 for padding, whose output is not written.
        starts_B: tokens in the row so far. out: [B, heads D]."""
        _attention[(len(rows_B) * self._kv, SPLITS)](
            qkv,
            k_RKSD,
            v_RKSD,
            rows_B,
            starts_B,
            frequencies_E,
            out,
            self._parts,
            self._stats,
            self._arrived,
            self._head_dim**-0.5,
            k_RKSD.stride(0),
            k_RKSD.stride(1),
            KV=self._kv,
            GROUP=self._group,
            D=self._head_dim,
            G=self._padded,
            TILE_S=32,
            SPLITS=SPLITS,
            num_warps=4,
            num_stages=3,
        )
