"""The next token from logits: the likeliest, or one drawn. Nothing here waits for the device.

Shapes: B requests of a batch, D of them sample, V vocabulary, N stops that are held back.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from reference.scheduling.batch import ScheduleBatch
from reference.scheduling.request import SamplingSpec

UNIFORM_BITS = 24
"""Bits of a uniform number: as many as float32 holds exactly."""


def next_tokens(logits_BV: Tensor, batch: ScheduleBatch) -> Tensor:
    """The next token of each request of the batch, [B] int64, as its `SamplingSpec` says; no stop before its least."""
    logits_BV = mask_stop_tokens(logits_BV, batch)
    tokens_B = logits_BV.argmax(dim=-1)
    drawing = [at for at, request in enumerate(batch.requests) if request.sampling.temperature > 0]
    if not drawing:
        return tokens_B
    specs, ends = [batch.requests[at].sampling for at in drawing], batch.ends
    numbers = [uniform(spec.seed, ends[at]) for spec, at in zip(specs, drawing, strict=True)]
    at_D = to_device(drawing, logits_BV.device)
    return tokens_B.index_copy(0, at_D, sample(logits_BV.index_select(0, at_D), specs, numbers))


def mask_stop_tokens(logits_BV: Tensor, batch: ScheduleBatch) -> Tensor:
    """The logits with -inf at the stops of each request that has fewer new tokens than its `min_new_tokens`."""
    requests, vocabulary = batch.requests, logits_BV.shape[-1]
    if not any(request.min_new_tokens for request in requests):
        return logits_BV
    indices = [
        (at, token)
        for at, (request, end) in enumerate(zip(requests, batch.ends, strict=True))
        if end - len(request.prompt) < request.min_new_tokens
        for token in request.stop
        if token < vocabulary
    ]
    if not indices:
        return logits_BV
    at_N2 = to_device(indices, logits_BV.device)
    return logits_BV.index_put((at_N2[:, 0], at_N2[:, 1]), logits_BV.new_full((), -math.inf))


def sample(logits_DV: Tensor, specs: Sequence[SamplingSpec], numbers: Sequence[float]) -> Tensor:
    """Tokens [D] by inverse transform sampling: the first at which the probabilities, summed in the order of the
    vocabulary, exceed the number. Each row depends on its own logits, sampling and number only."""
    weights_DV = top_k_top_p(logits_DV, specs).softmax(dim=-1)
    sums_DV = weights_DV.cumsum(dim=-1)
    number_D1 = to_device(numbers, logits_DV.device, torch.float32)[:, None]
    # relative to the sum as it was rounded; and never a token of weight 0, however sums are rounded
    hit_DV = (sums_DV > number_D1 * sums_DV.amax(dim=-1, keepdim=True)) & (weights_DV > 0)
    return hit_DV.to(torch.int8).argmax(dim=-1)


def top_k_top_p(logits_DV: Tensor, specs: Sequence[SamplingSpec]) -> Tensor:
    """The logits over their temperature, less their greatest; -inf outside of top-k and top-p.

    Both keep all tokens that are as likely as the least likely one kept, so that ties are broken alike everywhere.
    """
    device, vocabulary = logits_DV.device, logits_DV.shape[-1]
    temperature_D1 = to_device([spec.temperature for spec in specs], device, torch.float32)[:, None]
    scaled_DV = (logits_DV - logits_DV.amax(dim=-1, keepdim=True)) / temperature_D1
    counts = [spec.top_k if 0 < spec.top_k < vocabulary else 0 for spec in specs]
    if any(counts):
        count_D1 = to_device(counts, device)[:, None]
        best_DK = scaled_DV.topk(max(counts), dim=-1).values
        least_D1 = best_DK.gather(-1, (count_D1 - 1).clamp(min=0)).masked_fill(count_D1 == 0, -math.inf)
        scaled_DV = scaled_DV.masked_fill(scaled_DV < least_D1, -math.inf)
    shares = [spec.top_p for spec in specs]
    if min(shares) < 1:
        share_D1 = to_device(shares, device, torch.float32)[:, None]
        sorted_DV = scaled_DV.sort(dim=-1, descending=True).values
        weights_DV = sorted_DV.softmax(dim=-1)
        before_DV = weights_DV.cumsum(dim=-1) - weights_DV
        kept_D1 = (before_DV < share_D1).sum(dim=-1, keepdim=True)
        least_D1 = sorted_DV.gather(-1, (kept_D1 - 1).clamp(min=0)).masked_fill(share_D1 >= 1, -math.inf)
        scaled_DV = scaled_DV.masked_fill(scaled_DV < least_D1, -math.inf)
    return scaled_DV


def uniform(seed: int, position: int) -> float:
    """A number in [0, 1) that depends on its arguments only, for the token at this position."""
    digest = hashlib.blake2b(struct.pack("<qq", seed, position), digest_size=8).digest()
    return float((int.from_bytes(digest) >> (64 - UNIFORM_BITS)) / 2**UNIFORM_BITS)


def to_device(values: Sequence[Any], device: torch.device, dtype: torch.dtype = torch.int64) -> Tensor:
    """Numbers of the host, or lists of them, on the device, without waiting for what the device still has to do."""
    return torch.tensor(values, dtype=dtype).to(device, non_blocking=True)
