"""Weights of a Llama in a Hugging Face folder: one safetensors file, or shards and their index."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open

from reference.checkpoint.hf_config import read_hf_config
from reference.checkpoint.state_dict_adapter import WeightSlice
from reference.llama.config import LlamaConfig

if TYPE_CHECKING:
    from reference.checkpoint.chat_template import ChatTemplate
    from reference.checkpoint.tokenizer import TextTokenizer

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
FETCH_AGAIN = "fetch the file again"

READ_DTYPES = frozenset({torch.float32, torch.bfloat16, torch.float16, torch.float64})
"""Types of a number by itself; any other is quantised, and means something only with its scales."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HfCheckpoint:
    """A folder with config.json and safetensors files."""

    folder: Path

    def config(self) -> LlamaConfig:
        """The shape that config.json gives."""
        return read_hf_config(self.folder)

    def load_into(self, slices: Mapping[str, WeightSlice], config: LlamaConfig) -> None:
        """Copies each named tensor, or the part that is asked for, into its memory; nothing else is read.

        Raises ValueError, naming file and tensor, when one is missing, cut short or of the wrong shape.
        """
        by_file: dict[Path, list[str]] = defaultdict(list)
        for name, path in self._files_of(list(slices)).items():
            by_file[path].append(name)
        for path, names in by_file.items():
            _load_from(path, {name: slices[name] for name in names})

    def tokenizer(self) -> TextTokenizer:
        """The tokenizer of tokenizer.json. Raises ValueError where there is none."""
        from reference.checkpoint.tokenizer import hf_tokenizer  # a rank needs none

        return hf_tokenizer(self.folder)

    def chat_template(self) -> ChatTemplate:
        """The folder's chat template. Raises ValueError where it has none."""
        from reference.checkpoint.chat_template import hf_template

        return hf_template(self.folder)

    def _files_of(self, names: list[str]) -> dict[str, Path]:
        index, single = self.folder / INDEX, self.folder / SINGLE
        if not index.is_file():
            if not single.is_file():
                raise ValueError(
                    f"{self.folder} holds neither {SINGLE} nor {INDEX}; "
                    "name a folder of safetensors, or convert the checkpoint"
                )
            return dict.fromkeys(names, single)
        try:
            shard_of = dict(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
            files = {name: self.folder / shard for name, shard in shard_of.items()}
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{index} is not a safetensors index; {FETCH_AGAIN}") from None
        missing = [name for name in names if name not in files]
        if missing:
            raise ValueError(f"{index}: tensor {missing[0]!r} is missing; {FETCH_AGAIN}")
        return {name: files[name] for name in names}


def _load_from(path: Path, slices: Mapping[str, WeightSlice]) -> None:
    if not path.is_file():
        raise ValueError(f"{path} does not exist, though {INDEX} names it for {next(iter(slices))!r}; fetch the shard")
    try:
        with safe_open(path, framework="pt") as file:
            stored = set(file.keys())
            for name, part in slices.items():
                if name not in stored:
                    raise ValueError(f"{path}: tensor {name!r} is missing; {FETCH_AGAIN}")
                stored_tensor = file.get_slice(name)
                shape = list(stored_tensor.get_shape())
                if shape != list(part.shape):
                    raise ValueError(
                        f"{path}: tensor {name!r} has shape {shape}, expected {list(part.shape)}; "
                        "its config.json belongs to another checkpoint"
                    )
                tensor = file.get_tensor(name) if part.is_whole else stored_tensor[part.index]
                if tensor.dtype not in READ_DTYPES:
                    raise ValueError(
                        f"{path}: tensor {name!r} is {tensor.dtype}; quantised weights are not implemented"
                    )
                part.memory.copy_(tensor)
    except (SafetensorError, OSError) as wrong:
        raise ValueError(f"{path} cannot be read ({wrong}); {FETCH_AGAIN}") from None
