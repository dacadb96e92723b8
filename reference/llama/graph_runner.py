"""What runs a stage where its device can do better: decode steps captured once for each batch size, and kernels.

A decode step of a large model on an accelerator is a few hundred short kernels. Captured as a graph they follow
each other without the host; and the kernels of `decode_kernels` and `decode_attention` read nothing twice. Whatever is
not a plain decode step (a prefill, many sequences, a host) runs as `Stage` does it.

Shapes as in `reference.llama.stage`: B sequences, H hidden size, V vocabulary.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from reference.device import Device
from reference.llama.attention_metadata import ForwardBatch
from reference.llama.kv_cache import KVCache
from reference.llama.stage import Layer, Stage
from reference.llama.tensor_parallel import UNSHARED

Decode = Literal["auto", "captured", "plain"]


STAGINGS = 8
"""Steps of one size whose numbers may be on their way to the device, so that the host need not wait for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _StagingBuffer:
    """Host memory from which the device takes a step's numbers; free once `taken` has happened."""

    numbers: Tensor
    view: Any  # the same as an array of numpy, which is faster to write
    taken: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class _CapturedGraph:
    """One batch size: where inputs are put, where the outcome then is, and what computes it."""

    hidden: Tensor | None  # into a stage that is not the first, [B, H]
    numbers: Tensor  # int64 [3, B]: rows, -1 for padding; tokens so far; token ids
    outcome: Tensor  # hidden states [B, 1, H], or logits [B, V] in float32
    scratch: dict[str, Tensor]  # held, since the graph writes there
    replay: Callable[[], None]
    staging: deque[_StagingBuffer]


class CapturedStage:
    """A stage with its cache. Called as the stage is, with the same result up to rounding.

    What a decode step returns is overwritten by the next one: it must have been sent or read by then.
    """

    def __init__(self, stage: Stage, cache: KVCache, device: Device, *, most: int) -> None:
        from reference.llama.decode_attention import Attention
        from reference.llama.decode_kernels import MAX_ROWS

        self.config, self.first, self.last = stage.config, stage.first, stage.last
        self._stage, self._cache, self._device = stage, cache, device
        self._part = stage.tp.shard_config(stage.config)
        self._attention = Attention(
            batch=min(most, MAX_ROWS),
            heads=self._part.heads,
            kv_heads=self._part.kv_heads,
            head_dim=self._part.head_dim,
            device=device.torch,
        )
        sizes = [1]
        while sizes[-1] < min(most, MAX_ROWS):
            sizes.append(min(2 * sizes[-1], most, MAX_ROWS))
        # the largest first: the others then fit into its memory
        graphs = {size: self._capture(size) for size in reversed(sizes)}
        self._graphs = {size: graphs[size] for size in sizes}
        self._prepared: ForwardBatch | None = None

    def __call__(self, inputs: Tensor, batch: ForwardBatch, cache: KVCache, every_position: bool = False) -> Tensor:
        """As `Stage.forward`. Token ids may be on the host or the device."""
        graph = None if every_position else self._fitting(batch)
        if graph is None:
            return self._stage(inputs, batch, cache, every_position)
        count = len(batch.rows)
        if self._prepared is not batch:
            self._put(graph, batch, inputs[:, 0].numpy() if self.first and inputs.is_cpu else ())
        self._prepared = None
        if graph.hidden is not None:
            graph.hidden[:count].copy_(inputs[:, 0], non_blocking=True)
        elif not inputs.is_cpu:
            graph.numbers[2, :count].copy_(inputs[:, 0], non_blocking=True)
        graph.replay()
        return graph.outcome[:count]

    def prepare(self, batch: ForwardBatch) -> None:
        """Does beforehand, for the next call, what needs no inputs."""
        graph = None if self.first else self._fitting(batch)
        if graph is not None:
            self._put(graph, batch, ())
            self._prepared = batch

    def close(self) -> None:
        """Lets go of what was captured. A library does not end while a graph holds a collective of it."""
        self._graphs.clear()

    def _fitting(self, batch: ForwardBatch) -> _CapturedGraph | None:
        """The graph for such a batch, if it is a decode step."""
        if max(batch.length) > 1:
            return None
        return next((graph for size, graph in self._graphs.items() if size >= len(batch.rows)), None)

    def _put(self, graph: _CapturedGraph, batch: ForwardBatch, tokens: Sequence[int] | NDArray[np.int64]) -> None:
        """Sends a step's numbers to the device, where the step before it may still be under way."""
        staging = graph.staging[0]
        graph.staging.rotate(1)
        staging.taken.synchronize()
        count = len(batch.rows)
        staging.view[0, :count], staging.view[0, count:] = batch.rows, -1
        staging.view[1, :count] = batch.start
        staging.view[2, : len(tokens)] = tokens
        staging.view[1:, count:] = 0
        graph.numbers.copy_(staging.numbers, non_blocking=True)
        staging.taken.record()

    def _capture(self, size: int) -> _CapturedGraph:
        stage, where, part = self._stage, self._device.torch, self._part
        hidden, kind = part.hidden, self._cache.k_LRKSD.dtype
        hidden_in = None if stage.first else torch.zeros(size, hidden, dtype=kind, device=where)
        numbers = torch.tensor([[-1] * size, [0] * size, [0] * size], device=where)
        width = (part.heads + 2 * part.kv_heads) * part.head_dim
        scratch = {
            "x": torch.empty(size, hidden, dtype=kind, device=where),
            "qkv": torch.empty(size, width, dtype=kind, device=where),
            "attended": torch.zeros(size, part.heads * part.head_dim, dtype=kind, device=where),
            "gated": torch.empty(size, part.intermediate, dtype=kind, device=where),
        }
        outcome = (
            torch.empty(size, self.config.vocab_size, dtype=torch.float32, device=where)
            if stage.last
            else scratch["x"].unsqueeze(1)
        )
        replay = self._device.capture(lambda: self._step(hidden_in, numbers, outcome, **scratch))
        return _CapturedGraph(
            hidden=hidden_in,
            numbers=numbers,
            outcome=outcome,
            scratch=scratch,
            replay=replay,
            staging=deque(self._staging(numbers) for _ in range(STAGINGS)),
        )

    def _staging(self, like: Tensor) -> _StagingBuffer:
        numbers = self._device.host_buffer(like.nbytes).view(torch.int64).view(like.shape).zero_()
        return _StagingBuffer(numbers=numbers, view=numbers.numpy(), taken=self._device.event())

    def _step(
        self,
        hidden: Tensor | None,
        numbers: Tensor,
        outcome: Tensor,
        *,
        x: Tensor,
        qkv: Tensor,
        attended: Tensor,
        gated: Tensor,
    ) -> None:
        from reference.llama.decode_kernels import product

        stage, eps, comm = self._stage, self.config.rms_eps, self._stage.communicator
        once = x if stage.tp.rank == 0 else None  # of the ranks that add up their parts one adds what was there
        rows_B, starts_B, tokens_B = numbers
        x.copy_(F.embedding(tokens_B, stage.embedding) if hidden is None else hidden)
        for number, layer in enumerate(stage.layers):
            assert isinstance(layer, Layer)
            product(x, layer.qkv, qkv, gain_K=layer.attention_norm, eps=eps)
            k_RKSD, v_RKSD = self._cache.k_LRKSD[number], self._cache.v_LRKSD[number]
            self._attention(qkv, k_RKSD, v_RKSD, rows_B, starts_B, stage.frequencies_E, attended)
            product(attended, layer.out, x, residual_BN=once)
            x.copy_(comm.all_reduce(x))
            product(x, layer.gate_up, gated, gain_K=layer.mlp_norm, eps=eps, gated=True)
            product(gated, layer.down, x, residual_BN=once)
            x.copy_(comm.all_reduce(x))
        if stage.last:
            logits = outcome if stage.tp == UNSHARED else outcome.new_empty(len(x), len(stage.head))
            product(x, stage.head, logits, gain_K=stage.norm, eps=eps)
            if stage.tp != UNSHARED:
                outcome.copy_(comm.all_gather(logits)[:, : outcome.shape[1]])


def select_runner(stage: Stage, cache: KVCache, device: Device, *, choice: Decode, most: int) -> Stage | CapturedStage:
    """What runs the stage: the stage itself, or its captured decode steps.

    auto captures where the device can and the kernels take the shape. Raises ValueError where `captured` is asked
    for and cannot be.
    """
    reason = _unsupported_reason(stage, device)
    if choice == "captured" and reason:
        raise ValueError(f"decode 'captured': {reason}; choose --decode auto or plain")
    if choice == "plain" or (choice == "auto" and (reason or not device.supports_graphs)):
        return stage
    from reference.llama import prefill_kernels

    for layer in stage.layers:
        assert isinstance(layer, Layer)
        layer.rotate, layer.silu_and_mul = prefill_kernels.rotate, prefill_kernels.silu_and_mul
    return CapturedStage(stage, cache, device, most=most)


def _unsupported_reason(stage: Stage, device: Device) -> str:
    """Why the kernels cannot run this stage here; empty if they can."""
    try:
        from reference.llama.decode_kernels import tiles
    except ImportError:
        return "the package triton is not installed"
    c = stage.tp.shard_config(stage.config)
    if device.supports_graphs and not stage.communicator.capturable:
        return "what joins the ranks of a stage here is no library of the device"
    if device.is_host and not device.triton_interpreted:
        return f"kernels do not run on device {device.kind!r}"
    if c.attention_bias or c.mlp_bias:
        return "the model has biases, which the kernels do not add"
    if c.head_dim & (c.head_dim - 1) or c.head_dim < 32:
        return f"head_dim is {c.head_dim}, and the kernels take powers of two from 32"
    head = -(-c.vocab_size // stage.tp.size)
    sizes = (c.hidden, c.intermediate, c.heads * c.head_dim, (c.heads + 2 * c.kv_heads) * c.head_dim, head)
    if not tiles(*sizes):
        return f"one of the sizes {sizes} is no multiple of 16"
    return ""
