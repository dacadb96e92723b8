"""From names of tensors in a Hugging Face checkpoint to the memory of a stage, or of one rank's part of it.

Weights that read the same input are one matrix in `reference.llama.stage`, and several tensors in a checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from reference.llama.stage import Layer, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightSlice:
    """Memory for a part of a checkpoint's tensor: of its `whole` rows (dim 0) or columns (dim 1), those from `start`
    on. `whole` None: all of the tensor."""

    memory: Tensor
    dim: int = 0
    start: int = 0
    whole: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the checkpoint's tensor."""
        shape = list(self.memory.shape)
        if self.whole is not None:
            shape[self.dim] = self.whole
        return tuple(shape)

    @property
    def index(self) -> tuple[slice, ...]:
        """Where the part lies in the tensor."""
        index = [slice(0, length) for length in self.memory.shape]
        index[self.dim] = slice(self.start, self.start + self.memory.shape[self.dim])
        return tuple(index)

    @property
    def is_whole(self) -> bool:
        """Whether the part is all of the tensor."""
        return self.shape == tuple(self.memory.shape)


def state_dict_slices(stage: Stage) -> dict[str, WeightSlice]:
    """Name in a Hugging Face checkpoint to the memory for this rank's part of it; no other tensor is needed.

    A tied table has one name; the last stage holds a copy of its own.
    """
    slices: dict[str, WeightSlice] = {}
    for number, layer in zip(stage.span, stage.layers, strict=True):
        assert isinstance(layer, Layer)
        slices |= {f"model.layers.{number}.{name}": part for name, part in _layer_slices(layer).items()}
    vocabulary, mine = stage.config.vocab_size, stage.tp.slice_of(stage.config.vocab_size)
    if stage.first:
        slices["model.embed_tokens.weight"] = WeightSlice(memory=stage.embedding[:vocabulary])
    if stage.last:
        slices["model.norm.weight"] = WeightSlice(memory=stage.norm)
    if stage.last and not (stage.first and stage.config.tied):  # else the head is part of the embedding
        slices["model.embed_tokens.weight" if stage.config.tied else "lm_head.weight"] = WeightSlice(
            memory=stage.head[: mine.stop - mine.start], start=mine.start, whole=vocabulary
        )
    return slices


def _layer_slices(layer: Layer) -> dict[str, WeightSlice]:
    """The same of one layer, by the names after the layer's prefix."""
    config, tp = layer.config, layer.tp
    q, kv = config.heads * config.head_dim, config.kv_heads * config.head_dim
    q_view, k_view, v_view = layer.qkv.split((q, kv, kv))
    gate_view, up_view = layer.gate_up.chunk(2)

    def divided(memory: Tensor, dim: int) -> WeightSlice:
        length = memory.shape[dim]
        return WeightSlice(memory=memory, dim=dim, start=tp.rank * length, whole=tp.size * length)

    slices = {
        "self_attn.q_proj.weight": divided(q_view, 0),
        "self_attn.k_proj.weight": divided(k_view, 0),
        "self_attn.v_proj.weight": divided(v_view, 0),
        "self_attn.o_proj.weight": divided(layer.out, 1),
        "mlp.gate_proj.weight": divided(gate_view, 0),
        "mlp.up_proj.weight": divided(up_view, 0),
        "mlp.down_proj.weight": divided(layer.down, 1),
        "input_layernorm.weight": WeightSlice(memory=layer.attention_norm),
        "post_attention_layernorm.weight": WeightSlice(memory=layer.mlp_norm),
    }
    if layer.qkv_bias is not None:
        views = zip("qkv", layer.qkv_bias.split((q, kv, kv)), strict=True)
        slices |= {f"self_attn.{name}_proj.bias": divided(view, 0) for name, view in views}
    if layer.gate_up_bias is not None:
        halves = zip(("gate", "up"), layer.gate_up_bias.chunk(2), strict=True)
        slices |= {f"mlp.{name}_proj.bias": divided(view, 0) for name, view in halves}
    if layer.out_bias is not None:
        slices["self_attn.o_proj.bias"] = WeightSlice(memory=layer.out_bias)
    if layer.down_bias is not None:
        slices["mlp.down_proj.bias"] = WeightSlice(memory=layer.down_bias)
    return slices
