"""Kernels of a decode step, in Triton: matrix products of a few rows, and attention of one new token a sequence.

A decode step reads every weight and every cached key and value once and computes little, so its time is that of
the reads. The kernels therefore fuse whatever would read or write anything twice: the norm in front of a product,
the activation and the residual behind it, rope and the write to the cache in front of attention.

Shapes: B sequences, M the same, padded to what a matrix unit takes, K inputs and N outputs of a product, D head
size, E half of it, G query heads that share a KV head, S positions.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

MOST_ROWS = 64
"""Sequences up to which a product is bound by its weights' reads."""

SPLITS = 4
"""Parts into which the positions of one sequence are cut, so that a few sequences keep a whole device busy."""

SHARED_MEMORY = 225_000
"""Bytes of shared memory for the tiles that are on their way; a program of an H100 has 227 KiB in all."""

_LEAST_TILE = 16  # what `tl.dot` takes


@triton.jit
def _product(
    x,
    weight,
    gain,
    residual,
    out,
    eps,
    B: tl.constexpr,
    K: tl.constexpr,
    N: tl.constexpr,
    M: tl.constexpr,
    TILE_N: tl.constexpr,
    TILE_K: tl.constexpr,
    NORMED: tl.constexpr,
    GATED: tl.constexpr,
    ADDED: tl.constexpr,
):
    n = tl.program_id(0) * TILE_N + tl.arange(0, TILE_N)
    m = tl.arange(0, M)
    k = tl.arange(0, TILE_K)
    # The weights are the left operand: it is the side on which the matrix unit takes many rows.
    sums_NM = tl.zeros((TILE_N, M), tl.float32)
    other_NM = tl.zeros((TILE_N, M), tl.float32)
    squares_M = tl.zeros((M,), tl.float32)
    for at in range(0, K, TILE_K):
        x_MK = tl.load(x + m[:, None] * K + at + k[None, :], mask=m[:, None] < B, other=0.0)
        weight_NK = tl.load(weight + n[:, None] * K + at + k[None, :], eviction_policy="evict_first")
        if NORMED:  # the scale of a row is applied to its sums, so one pass over x does
            wide_MK = x_MK.to(tl.float32)
            squares_M += tl.sum(wide_MK * wide_MK, 1)
            x_MK = (wide_MK * tl.load(gain + at + k).to(tl.float32)[None, :]).to(x_MK.dtype)
        sums_NM = tl.dot(weight_NK, tl.trans(x_MK), sums_NM, input_precision="ieee")
        if GATED:
            other_NK = tl.load(weight + (N + n)[:, None] * K + at + k[None, :], eviction_policy="evict_first")
            other_NM = tl.dot(other_NK, tl.trans(x_MK), other_NM, input_precision="ieee")
    sums_MN = tl.trans(sums_NM)
    other_MN = tl.trans(other_NM)
    if NORMED:
        scale_M = tl.rsqrt(squares_M / K + eps)
        sums_MN *= scale_M[:, None]
        other_MN *= scale_M[:, None]
    if GATED:
        sums_MN = sums_MN / (1.0 + tl.exp(-sums_MN)) * other_MN
    place = m[:, None] * N + n[None, :]
    if ADDED:
        sums_MN += tl.load(residual + place, mask=m[:, None] < B, other=0.0).to(tl.float32)
    tl.store(out + place, sums_MN.to(out.dtype.element_ty), mask=m[:, None] < B)


def product(
    x_BK: Tensor,
    weight: Tensor,
    out_BN: Tensor,
    *,
    gain_K: Tensor | None = None,
    eps: float = 0.0,
    residual_BN: Tensor | None = None,
    gated: bool = False,
) -> None:
    """out = f(norm(x) @ weight.T) + residual, all contiguous, for at most `MOST_ROWS` rows of x.

    gain_K: of an RMS norm of x, else none is applied. gated: weight is [2N, K] and f(y) = silu(y[:N]) * y[N:];
    else it is [N, K] and f the identity. out may be residual.
    """
    rows, inputs = x_BK.shape
    outputs = out_BN.shape[1]
    assert rows <= MOST_ROWS and weight.shape == (outputs * (2 if gated else 1), inputs), f"{x_BK.shape} {weight.shape}"
    # Measured on an H100: a product with a norm wants tall tiles, one without it many small programs, the wider the
    # more inputs there are; a large N, such as a vocabulary, has programs enough for the tallest tiles.
    normed = gain_K is not None
    if not normed:
        most_n, most_k, warps, stages = 16, 512 if inputs >= 2**13 else 256, 2, 3 if inputs >= 2**13 else 4
    elif outputs >= 2**15:
        most_n, most_k, warps, stages = 128, 128, 8, 3
    else:
        most_n, most_k, warps, stages = 64, 256, 4, 3 if gated else 4
    tile_n, tile_k = largest_tile(outputs, most_n), largest_tile(inputs, most_k)
    padded = max(_LEAST_TILE, triton.next_power_of_2(rows))
    stage = (tile_n * (2 if gated else 1) + padded) * tile_k * x_BK.element_size()
    stages = max(1, min(stages, SHARED_MEMORY // stage))
    _product[(outputs // tile_n,)](
        x_BK,
        weight,
        gain_K,
        residual_BN,
        out_BN,
        eps,
        B=rows,
        K=inputs,
        N=outputs,
        M=padded,
        TILE_N=tile_n,
        TILE_K=tile_k,
        NORMED=normed,
        GATED=gated,
        ADDED=residual_BN is not None,
        num_warps=warps,
        num_stages=stages,
    )


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
            first = pair * SPLITS
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
            done_GD = sums_GD / total_G[:, None]
            out_at = out + (b * KV * GROUP + kv * GROUP + g)[:, None] * D + d[None, :]
            tl.store(out_at, done_GD.to(out.dtype.element_ty), mask=g[:, None] < GROUP)
            tl.store(arrived + pair, 0)


class Attention:
    """Rope, the cache's new entries and attention for one new token of each of up to `batch` sequences.

    Holds the memory in which the parts of a sequence meet; the layers of a stage share one.
    """

    def __init__(self, *, batch: int, heads: int, kv_heads: int, head_dim: int, device: torch.device) -> None:
        self._kv, self._group, self._head_dim = kv_heads, heads // kv_heads, head_dim
        self._padded = max(_LEAST_TILE, triton.next_power_of_2(self._group))
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


def largest_tile(size: int, most: int) -> int:
    """The largest power of two up to `most` that divides `size`."""
    tile = most
    while size % tile:
        tile //= 2
    return tile


def tiles(*sizes: int) -> bool:
    """Whether the kernels can cut every one of these dimensions."""
    return all(largest_tile(size, _LEAST_TILE) == _LEAST_TILE for size in sizes)
