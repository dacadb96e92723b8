"""The next token from logits: the likeliest, or one drawn. Nothing here waits for the device.

Shapes: B requests of a batch, D of them draw, V vocabulary, N stops that are held back.
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

FINENESS = 24
"""Bits of a uniform number: as many as float32 holds exactly."""


def next_tokens(logits_BV: Tensor, batch: ScheduleBatch) -> Tensor:
    """The next token of each request of the batch, [B] int64, as its `SamplingSpec` says; no stop before its least."""
    logits_BV = held_back(logits_BV, batch)
    tokens_B = logits_BV.argmax(dim=-1)
    drawing = [at for at, request in enumerate(batch.requests) if request.sampling.temperature > 0]
    if not drawing:
        return tokens_B
    samplings, ends = [batch.requests[at].sampling for at in drawing], batch.ends
    numbers = [uniform(given.seed, ends[at]) for given, at in zip(samplings, drawing, strict=True)]
    at_D = upload(drawing, logits_BV.device)
    return tokens_B.index_copy(0, at_D, draw(logits_BV.index_select(0, at_D), samplings, numbers))


def held_back(logits_BV: Tensor, batch: ScheduleBatch) -> Tensor:
    """The logits with -inf at the stops of each request that has fewer new tokens than its `min_new_tokens`."""
    requests, vocabulary = batch.requests, logits_BV.shape[-1]
    if not any(request.min_new_tokens for request in requests):
        return logits_BV
    places = [
        (at, token)
        for at, (request, end) in enumerate(zip(requests, batch.ends, strict=True))
        if end - len(request.prompt) < request.min_new_tokens
        for token in request.stop
        if token < vocabulary
    ]
    if not places:
        return logits_BV
    at_N2 = upload(places, logits_BV.device)
    return logits_BV.index_put((at_N2[:, 0], at_N2[:, 1]), logits_BV.new_full((), -math.inf))


def draw(logits_DV: Tensor, samplings: Sequence[SamplingSpec], numbers: Sequence[float]) -> Tensor:
    """Tokens [D] by inverse transform sampling: the first at which the probabilities, summed in the order of the
    vocabulary, exceed the number. Each row depends on its own logits, sampling and number only."""
    weights_DV = filtered(logits_DV, samplings).softmax(dim=-1)
    sums_DV = weights_DV.cumsum(dim=-1)
    number_D1 = upload(numbers, logits_DV.device, torch.float32)[:, None]
    # relative to the sum as it was rounded; and never a token of weight 0, however sums are rounded
    hit_DV = (sums_DV > number_D1 * sums_DV.amax(dim=-1, keepdim=True)) & (weights_DV > 0)
    return hit_DV.to(torch.int8).argmax(dim=-1)


def filtered(logits_DV: Tensor, samplings: Sequence[SamplingSpec]) -> Tensor:
    """The logits over their temperature, less their greatest; -inf outside of top-k and top-p.

    Both keep all tokens that are as likely as the least likely one kept, so that ties are broken alike everywhere.
    """
    device, vocabulary = logits_DV.device, logits_DV.shape[-1]
    heat_D1 = upload([given.temperature for given in samplings], device, torch.float32)[:, None]
    scaled_DV = (logits_DV - logits_DV.amax(dim=-1, keepdim=True)) / heat_D1
    counts = [given.top_k if 0 < given.top_k < vocabulary else 0 for given in samplings]
    if any(counts):
        count_D1 = upload(counts, device)[:, None]
        best_DK = scaled_DV.topk(max(counts), dim=-1).values
        least_D1 = best_DK.gather(-1, (count_D1 - 1).clamp(min=0)).masked_fill(count_D1 == 0, -math.inf)
        scaled_DV = scaled_DV.masked_fill(scaled_DV < least_D1, -math.inf)
    shares = [given.top_p for given in samplings]
    if min(shares) < 1:
        share_D1 = upload(shares, device, torch.float32)[:, None]
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
    return float((int.from_bytes(digest) >> (64 - FINENESS)) / 2**FINENESS)


def upload(values: Sequence[Any], device: torch.device, dtype: torch.dtype = torch.int64) -> Tensor:
    """Numbers of the host, or lists of them, on the device, without waiting for what the device still has to do."""
    return torch.tensor(values, dtype=dtype).to(device, non_blocking=True)
