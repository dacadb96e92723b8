"""Matrix products of a decode step, in Triton: of a few rows. Attention is in `reference.llama.decode_attention`.

A decode step reads every weight and every cached key and value once and computes little, so its time is that of
the reads. The kernels therefore fuse whatever would read or write anything twice: the norm in front of a product,
the activation and the residual behind it, rope and the write to the cache in front of attention.

Shapes: B sequences, M the same, padded to what a matrix unit takes, K inputs and N outputs of a product.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

MAX_ROWS = 64
"""Sequences up to which a product is bound by its weights' reads."""

SHARED_MEMORY = 225_000
"""Bytes of shared memory for the tiles that are on their way; a program of an H100 has 227 KiB in all."""

MIN_TILE = 16
"""What `tl.dot` takes."""


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
    """out = f(norm(x) @ weight.T) + residual; program i of a grid (N / TILE_N,) makes columns from i * TILE_N on.

    Every array is contiguous, rows first: x [B, K] has strides (K, 1), weight [N, K], where GATED [2N, K], (K, 1), gain
    [K] of the norm (1,), residual and out [B, N] (N, 1). Read only where NORMED: gain, eps; where ADDED: residual.
    TILE_N divides N, TILE_K divides K, and M is a power of two from B on; sums are in float32.
    """
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
    """out = f(norm(x) @ weight.T) + residual, all contiguous, for at most `MAX_ROWS` rows of x.

    gain_K: of an RMS norm of x, else none is applied. gated: weight is [2N, K] and f(y) = silu(y[:N]) * y[N:];
    else it is [N, K] and f the identity. out may be residual.
    """
    rows, inputs = x_BK.shape
    outputs = out_BN.shape[1]
    assert rows <= MAX_ROWS and weight.shape == (outputs * (2 if gated else 1), inputs), f"{x_BK.shape} {weight.shape}"
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
    padded = max(MIN_TILE, triton.next_power_of_2(rows))
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


def largest_tile(size: int, most: int) -> int:
    """The largest power of two up to `most` that divides `size`."""
    tile = most
    while size % tile:
        tile //= 2
    return tile


def tiles(*sizes: int) -> bool:
    """Whether the kernels can cut every one of these dimensions."""
    return all(largest_tile(size, MIN_TILE) == MIN_TILE for size in sizes)
