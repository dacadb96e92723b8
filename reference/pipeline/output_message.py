"""The output message of a batch: made on the last rank, read by every rank.

It is one tensor [N] of int64. First the next token of each of the B requests. Then one line for each
log-probability that is wanted: of new tokens first, then of prompt tokens, in the order of the batch. A line is
the log-probability, `n` tokens, and their log-probabilities, where n is the greatest `top_logprobs` of those
who want any. Log-probabilities are float32, by their bits. So N follows from the batch alone.

Shapes: B requests, T tokens of each (padded), V vocabulary, M lines, K likeliest tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reference.pipeline.sampling import next_tokens, to_device
from reference.scheduling.batch import NO_LOGPROBS, BatchLogprobs, ScheduleBatch
from reference.scheduling.request import TokenLogprob, TopLogprobs


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lines:
    """outputs: which requests want the new token's. prompts: how many prompt tokens are scored of each request."""

    outputs: tuple[int, ...] = ()
    prompts: tuple[int, ...] = ()
    top: int = 0


_NONE = _Lines()


def _lines(batch: ScheduleBatch) -> _Lines:
    outputs = tuple(
        [
            at
            for at, request in enumerate(batch.requests)
            if request.logprobs and batch.starts[at] + batch.lengths[at] >= len(request.prompt)
        ]
    )
    if not outputs and not batch.scored:
        return _NONE
    prompts = tuple(len(batch.targets(at)) for at in range(len(batch.requests))) if batch.scored else ()
    asking = range(len(batch.requests)) if batch.scored else outputs
    top = max(batch.requests[at].top_logprobs for at in asking)
    return _Lines(outputs=outputs, prompts=prompts, top=top)


def output_len(batch: ScheduleBatch) -> int:
    """N, the length of the batch's message."""
    lines = _lines(batch)
    return len(batch.requests) + (len(lines.outputs) + sum(lines.prompts)) * (1 + 2 * lines.top)


def encode_output(batch: ScheduleBatch, logits: Tensor) -> Tensor:
    """The message [N], on the device of the logits: [B, V] or, of a scored batch, [B, T, V]. Waits for nothing."""
    logits_BV = last_token_logits(batch, logits)
    tokens_B = next_tokens(logits_BV, batch)
    lines = _lines(batch)
    if lines is _NONE:
        return tokens_B
    parts = [tokens_B]
    if lines.outputs:
        at_M = to_device(lines.outputs, logits.device)
        parts.append(_score(logits_BV.index_select(0, at_M), tokens_B.index_select(0, at_M), lines.top))
    if batch.scored:
        width = logits.shape[1]
        indices = [at * width + position for at, count in enumerate(lines.prompts) for position in range(count)]
        targets = [token for at in range(len(lines.prompts)) for token in batch.targets(at)]
        logits_MV = logits.flatten(0, 1).index_select(0, to_device(indices, logits.device))
        parts.append(_score(logits_MV, to_device(targets, logits.device), lines.top))
    return torch.cat(parts)


def last_token_logits(batch: ScheduleBatch, logits: Tensor) -> Tensor:
    """Logits [B, V] at each request's last token, of those of a stage for this batch."""
    if logits.dim() == 2:
        return logits
    batch_size, width, _ = logits.shape
    indices = [at * width + length - 1 for at, length in zip(range(batch_size), batch.lengths, strict=True)]
    return logits.flatten(0, 1).index_select(0, to_device(indices, logits.device))


def decode_output(batch: ScheduleBatch, message: Tensor) -> tuple[list[int], BatchLogprobs]:
    """Tokens and log-probabilities of the batch's message, which is on the host."""
    lines, requests = _lines(batch), len(batch.requests)
    if lines is _NONE:
        return message.tolist(), NO_LOGPROBS
    tokens, rest = message[:requests].tolist(), message[requests:].view(-1, 1 + 2 * lines.top)
    ids_MK = rest[:, 1 : 1 + lines.top].tolist()
    logprobs_M, tops_MK = _floats(rest[:, 0]).tolist(), _floats(rest[:, 1 + lines.top :]).tolist()

    def top(line: int, at: int) -> TopLogprobs:
        count = batch.requests[at].top_logprobs
        return tuple(zip(ids_MK[line][:count], tops_MK[line][:count], strict=True))

    output = {at: (logprobs_M[line], top(line, at)) for line, at in enumerate(lines.outputs)}
    prompt, line = [], len(lines.outputs)
    for at, count in enumerate(lines.prompts):
        targets = batch.targets(at)
        prompt.append(
            [TokenLogprob(token=targets[n], logprob=logprobs_M[line + n], top=top(line + n, at)) for n in range(count)]
        )
        line += count
    return tokens, BatchLogprobs(output=output, prompt=prompt)


def _score(logits_MV: Tensor, tokens_M: Tensor, top: int) -> Tensor:
    """M lines as one tensor: see the top of the file."""
    total_M1 = logits_MV.logsumexp(dim=-1, keepdim=True)
    columns: list[Tensor] = [_bits(logits_MV.gather(-1, tokens_M[:, None]) - total_M1)]
    if top:
        best = logits_MV.topk(top, dim=-1)
        columns += [best.indices, _bits(best.values - total_M1)]
    return torch.cat(columns, dim=1).flatten()


def _bits(values: Tensor) -> Tensor:
    return values.float().contiguous().view(torch.int32).to(torch.int64)


def _floats(bits: Tensor) -> Tensor:
    return bits.to(torch.int32).view(torch.float32)
