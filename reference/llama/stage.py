"""One pipeline stage of a Llama: some layers, with the embedding in front on the first and the head behind on the last.

One forward serves prefill, chunked prefill and decode. It does the same arithmetic on the same shapes
wherever the layers are cut, so the logits of any split are bit-equal to those of one stage. Where ranks share a
stage, each computes with its own heads and its own part of the feed-forward and of the vocabulary; a collective adds
their hidden states up, in another order than one rank would, so logits then are equal within rounding.

Shape suffixes of tensor names: B batch, T new tokens (padded on the right), S positions of the cache that
are looked at, H hidden size, N query heads, K KV heads, D head size, E half of it, F feed-forward size, V vocabulary;
N, K and F are those of this rank.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference.llama.attention_metadata import AttentionMetadata, ForwardBatch, build_attention_metadata
from reference.llama.config import LlamaConfig
from reference.llama.kv_cache import KVCache
from reference.llama.rope import rope_frequencies, rotate
from reference.llama.tensor_parallel import SINGLE_RANK, UNSHARED, Communicator, TensorParallelRank


def silu_and_mul(both_BTF: Tensor) -> Tensor:
    """The activation of the feed-forward: silu of the first half of the last dimension, times the second."""
    gate_BTF, up_BTF = both_BTF.chunk(2, dim=-1)
    return F.silu(gate_BTF, inplace=True).mul_(up_BTF)


def empty_parameter(*shape: int, dtype: torch.dtype, device: torch.device) -> nn.Parameter:
    """A weight that a checkpoint fills."""
    return nn.Parameter(torch.empty(shape, dtype=dtype, device=device), requires_grad=False)


class Layer(nn.Module):
    """Attention and feed-forward with their norms. Weights that read the same input are one matrix.

    config: the shape of this rank's part.
    """

    def __init__(
        self,
        config: LlamaConfig,
        dtype: torch.dtype,
        device: torch.device,
        tp: TensorParallelRank,
        communicator: Communicator,
    ) -> None:
        super().__init__()
        self.config, self.tp, self.communicator = config, tp, communicator
        self.rotate, self.silu_and_mul = (
            rotate,
            silu_and_mul,
        )  # a device may have better ones (`reference.llama.graph_runner`)
        q, kv = config.heads * config.head_dim, config.kv_heads * config.head_dim
        self.qkv = empty_parameter(q + 2 * kv, config.hidden, dtype=dtype, device=device)
        self.out = empty_parameter(config.hidden, q, dtype=dtype, device=device)
        self.gate_up = empty_parameter(2 * config.intermediate, config.hidden, dtype=dtype, device=device)
        self.down = empty_parameter(config.hidden, config.intermediate, dtype=dtype, device=device)
        self.attention_norm = empty_parameter(config.hidden, dtype=dtype, device=device)
        self.mlp_norm = empty_parameter(config.hidden, dtype=dtype, device=device)

        def bias(wanted: bool, size: int) -> nn.Parameter | None:
            return empty_parameter(size, dtype=dtype, device=device) if wanted else None

        first = tp.rank == 0  # what all ranks add up has its bias once
        self.qkv_bias = bias(config.attention_bias, q + 2 * kv)
        self.out_bias = bias(config.attention_bias and first, config.hidden)
        self.gate_up_bias = bias(config.mlp_bias, 2 * config.intermediate)
        self.down_bias = bias(config.mlp_bias and first, config.hidden)

    def forward(
        self, x_BTH: Tensor, metadata: AttentionMetadata, cos_BT1E: Tensor, sin_BT1E: Tensor, cache: KVCache, layer: int
    ) -> Tensor:
        """Hidden states after this layer; its new keys and values are in `cache`, as layer `layer`."""
        c = self.config
        normed_BTH = F.rms_norm(x_BTH, (c.hidden,), self.attention_norm, c.rms_eps)
        qkv_BTXD = F.linear(normed_BTH, self.qkv, self.qkv_bias).unflatten(-1, (-1, c.head_dim))
        qk_BTXD = self.rotate(qkv_BTXD[:, :, : c.heads + c.kv_heads], cos_BT1E, sin_BT1E)
        q_BTND, k_BTKD = qk_BTXD.split((c.heads, c.kv_heads), dim=2)
        cache.write(layer, metadata.index, k_BTKD, qkv_BTXD[:, :, c.heads + c.kv_heads :])
        k_BKSD, v_BKSD = cache.read(layer, metadata.rows, metadata.span)
        attended_BNTD = F.scaled_dot_product_attention(
            q_BTND.transpose(1, 2),
            k_BKSD,
            v_BKSD,
            attn_mask=metadata.mask_B1TS,
            is_causal=metadata.causal,
            enable_gqa=c.heads != c.kv_heads,
        )
        # In place from here on, but never in x_BTH, which belongs to the caller.
        attended_BTX = attended_BNTD.transpose(1, 2).flatten(2)
        x_BTH = self.communicator.all_reduce(F.linear(attended_BTX, self.out, self.out_bias)).add_(x_BTH)
        normed_BTH = F.rms_norm(x_BTH, (c.hidden,), self.mlp_norm, c.rms_eps)
        gated_BTF = self.silu_and_mul(F.linear(normed_BTH, self.gate_up, self.gate_up_bias))
        return self.communicator.all_reduce(F.linear(gated_BTF, self.down, self.down_bias)).add_(x_BTH)


class Stage(nn.Module):
    """Layers `layers` of a Llama, with the embedding if `first` and the final norm and head if `last`.

    tp, communicator: this rank's part of the stage, and the collectives of the ranks that share it. Raises ValueError
    where the shape does not divide. The weights are uninitialised: `reference.checkpoint.loader.load_stage` fills them.
    """

    def __init__(
        self,
        config: LlamaConfig,
        layers: range,
        first: bool,
        last: bool,
        dtype: torch.dtype,
        device: torch.device,
        tp: TensorParallelRank = UNSHARED,
        communicator: Communicator = SINGLE_RANK,
    ) -> None:
        super().__init__()
        assert 0 <= layers.start < layers.stop <= config.layers, f"{layers} of {config.layers} layers"
        self.config, self.span, self.first, self.last = config, layers, first, last
        self.tp, self.communicator = tp, communicator
        part = tp.shard_config(config)
        self.layers = nn.ModuleList(Layer(part, dtype, device, tp, communicator) for _ in layers)
        rows = -(-config.vocab_size // tp.size)  # of the head; what the last rank has too many is cut off again
        if first:
            self.embedding = empty_parameter(rows * tp.size, config.hidden, dtype=dtype, device=device)
        if last:
            self.norm = empty_parameter(config.hidden, dtype=dtype, device=device)
            if first and config.tied:
                mine = slice(tp.rank * rows, (tp.rank + 1) * rows)
                self.head = self.embedding if tp == UNSHARED else self.embedding[mine]
            else:
                self.head = empty_parameter(rows, config.hidden, dtype=dtype, device=device)
        self.frequencies_E = nn.Buffer(rope_frequencies(config, device), persistent=False)

    def prepare(self, batch: ForwardBatch) -> None:
        """May be called before the inputs of the next `forward` are there; nothing is worth doing that early."""

    def forward(self, inputs: Tensor, batch: ForwardBatch, cache: KVCache, every_position: bool = False) -> Tensor:
        """Runs the stage on the new tokens of `batch`, and adds them to `cache`.

        inputs: token ids [B, T] int64, also of the host, on the first stage, hidden states [B, T, H] on the others.
        Returns hidden states [B, T, H]; on the last stage logits in float32, [B, V] at each sequence's last
        new token or, with `every_position`, [B, T, V]. What stands at padding is meaningless.
        """
        inputs = inputs.to(self.frequencies_E.device, non_blocking=True)
        x_BTH = F.embedding(inputs, self.embedding) if self.first else inputs
        metadata = build_attention_metadata(batch, x_BTH.shape[1], cache, x_BTH)
        angles_BT1E = (metadata.positions_BT[..., None] * self.frequencies_E)[:, :, None]
        cos_BT1E, sin_BT1E = angles_BT1E.cos().to(x_BTH.dtype), angles_BT1E.sin().to(x_BTH.dtype)
        for number, layer in enumerate(self.layers):
            x_BTH = layer(x_BTH, metadata, cos_BT1E, sin_BT1E, cache, number)
        if not self.last:
            return x_BTH
        if not every_position:
            last_B = torch.tensor(batch.length, device=x_BTH.device) - 1
            x_BTH = x_BTH[torch.arange(len(batch.length), device=x_BTH.device), last_B]
        normed_BTH = F.rms_norm(x_BTH, (self.config.hidden,), self.norm, self.config.rms_eps)
        return self.communicator.all_gather(F.linear(normed_BTH, self.head))[..., : self.config.vocab_size].float()
