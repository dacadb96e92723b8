"""Kernels beside the matrix products of a prefill, in Triton: each reads and writes its memory once.

The products of a prefill are the library's. What stands between them is bound by memory, and as one operation
after another it takes a quarter of the time.

Shapes as in `reference.llama.stage`: B batch, T tokens, X heads, D head size, E half of it, F feed-forward size.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _silu_and_mul(both, out, F: tl.constexpr, TILE: tl.constexpr):
    """out [tokens, F] from both [tokens, 2F], contiguous; program (token, i) of a grid (tokens, F / TILE, rounded up)
    makes columns from i * TILE on."""
    row = tl.program_id(0).to(tl.int64)
    f = tl.program_id(1) * TILE + tl.arange(0, TILE)
    inside = f < F
    gate = tl.load(both + row * 2 * F + f, mask=inside).to(tl.float32)
    up = tl.load(both + (row * 2 + 1) * F + f, mask=inside).to(tl.float32)
    tl.store(out + row * F + f, (gate / (1.0 + tl.exp(-gate)) * up).to(out.dtype.element_ty), mask=inside)


def silu_and_mul(both_BTF: Tensor) -> Tensor:
    """As `stage.silu_and_mul`, for a contiguous tensor."""
    size = both_BTF.shape[-1] // 2
    out_BTF = torch.empty(*both_BTF.shape[:-1], size, dtype=both_BTF.dtype, device=both_BTF.device)
    tile = min(2048, triton.next_power_of_2(size))
    _silu_and_mul[(out_BTF.numel() // size, triton.cdiv(size, tile))](both_BTF, out_BTF, F=size, TILE=tile, num_warps=8)
    return out_BTF


@triton.jit
def _rotate(x, cos, sin, out, stride, X: tl.constexpr, E: tl.constexpr, HEADS: tl.constexpr, HALF: tl.constexpr):
    """out [tokens, X, 2E], contiguous, from x [tokens, X, 2E] of strides (stride, 2E, 1), in elements; a program for
    each token. cos, sin [tokens, E] are contiguous. HEADS and HALF are powers of two from X and E on."""
    row = tl.program_id(0).to(tl.int64)
    head, e = tl.arange(0, HEADS), tl.arange(0, HALF)
    inside = (head[:, None] < X) & (e[None, :] < E)
    cos_E = tl.load(cos + row * E + e, mask=e < E).to(tl.float32)
    sin_E = tl.load(sin + row * E + e, mask=e < E).to(tl.float32)
    place = head[:, None] * 2 * E + e[None, :]
    a_XE = tl.load(x + row * stride + place, mask=inside).to(tl.float32)
    b_XE = tl.load(x + row * stride + place + E, mask=inside).to(tl.float32)
    kind = out.dtype.element_ty
    to = out + row * X * 2 * E + place
    tl.store(to, (a_XE * cos_E[None, :] - b_XE * sin_E[None, :]).to(kind), mask=inside)
    tl.store(to + E, (b_XE * cos_E[None, :] + a_XE * sin_E[None, :]).to(kind), mask=inside)


def rotate(x_BTXD: Tensor, cos_BT1E: Tensor, sin_BT1E: Tensor) -> Tensor:
    """As `rope.rotate`, where the heads of a token are contiguous and tokens follow each other at one distance."""
    *_, heads, size = x_BTXD.shape
    tokens = x_BTXD.flatten(0, 1)
    out_BTXD = torch.empty(x_BTXD.shape, dtype=x_BTXD.dtype, device=x_BTXD.device)
    cos, sin = (angle.expand(*x_BTXD.shape[:2], 1, size // 2).contiguous() for angle in (cos_BT1E, sin_BT1E))
    _rotate[(tokens.shape[0],)](
        tokens,
        cos,
        sin,
        out_BTXD,
        tokens.stride(0),
        X=heads,
        E=size // 2,
        HEADS=triton.next_power_of_2(heads),
        HALF=triton.next_power_of_2(size // 2),
    )
    return out_BTXD
