"""Where the weights of a stage come from: a Hugging Face folder, a GGUF file, or a random generator."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import torch

from reference.checkpoint.gguf_checkpoint import GgufCheckpoint, smollm2_path
from reference.checkpoint.hf_checkpoint import HfCheckpoint
from reference.checkpoint.hub_cache import cached, repository
from reference.checkpoint.state_dict_adapter import WeightSlice, state_dict_slices
from reference.llama.config import SHAPES, LlamaConfig
from reference.llama.stage import Stage
from reference.llama.tensor_parallel import SINGLE_RANK, UNSHARED, Communicator, TensorParallelRank

if TYPE_CHECKING:
    from reference.checkpoint.chat_template import ChatTemplate
    from reference.checkpoint.tokenizer import TextTokenizer

Load = Literal["checkpoint", "random"]


class Checkpoint(Protocol):
    """Weights with their shape, tokenizer and chat template.

    Plain data: it can be pickled and sent to another process.
    """

    def config(self) -> LlamaConfig:
        """The shape. Raises ValueError when it cannot be read."""

    def load_into(self, slices: Mapping[str, WeightSlice], config: LlamaConfig) -> None:
        """Writes each tensor, by its Hugging Face name, or the part of it that is asked for, into its memory.
        Raises ValueError naming what is wrong."""

    def tokenizer(self) -> TextTokenizer:
        """Its tokenizer. Raises ValueError when it has none, or one that is not known here."""

    def chat_template(self) -> ChatTemplate:
        """Its chat template. Raises ValueError when it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomCheckpoint:
    """Random weights of a shape, the same for every split into stages.

    Each tensor has a generator of its own, seeded by `seed` and the tensor's name. It runs where the tensor
    lies, since 8 billion numbers take minutes on a host: another kind of device gives other numbers.
    `like` is the checkpoint whose shape it is, if any: the tokenizer may still come from there.
    """

    shape: LlamaConfig
    seed: int = 0
    like: HfCheckpoint | GgufCheckpoint | None = None

    def config(self) -> LlamaConfig:
        """The shape."""
        return self.shape

    def load_into(self, slices: Mapping[str, WeightSlice], config: LlamaConfig) -> None:
        """Norms become one; matrices normal with variance 1 / columns, which keeps activations near unit size; biases
        normal with a deviation of 0.02.

        A part has the numbers that it has in the whole, which is therefore made first.
        """
        for name, part in slices.items():
            bias = name.endswith(".bias")
            if part.memory.dim() == 1 and not bias:
                part.memory.fill_(1.0)
                continue
            memory = part.memory if part.is_whole else part.memory.new_empty(part.shape)
            digest = hashlib.sha256(f"{self.seed} {name}".encode()).digest()
            generator = torch.Generator(memory.device).manual_seed(int.from_bytes(digest[:7]))
            memory.normal_(0.0, 0.02 if bias else memory.shape[1] ** -0.5, generator=generator)
            if not part.is_whole:
                part.memory.copy_(memory[part.index])

    def tokenizer(self) -> TextTokenizer:
        """That of the checkpoint whose shape it is."""
        if self.like is None:
            raise ValueError("random weights of a named shape have no tokenizer; give the prompt as token ids")
        return self.like.tokenizer()

    def chat_template(self) -> ChatTemplate:
        """That of the checkpoint whose shape it is."""
        if self.like is None:
            raise ValueError(
                "random weights of a named shape have no chat template; name a model to talk to, or complete token ids "
                "instead"
            )
        return self.like.chat_template()


def resolve_checkpoint(name_or_path: str, load: Load = "checkpoint", seed: int = 0) -> Checkpoint:
    """The checkpoint of a shape's name (`SHAPES`), a Hugging Face folder, a GGUF file or a repository in Hugging Face's
    cache (the name llama-3.1-8b, however capitalised, stands for one).

    With `load="random"` only the shape is taken. Raises ValueError when there is no such thing, or when
    only the shape of it is known.
    """
    if load == "random" and name_or_path.lower() in SHAPES:
        return RandomCheckpoint(shape=SHAPES[name_or_path.lower()], seed=seed)
    checkpoint = _stored(name_or_path)
    if load == "random":
        return RandomCheckpoint(shape=checkpoint.config(), seed=seed, like=checkpoint)
    return checkpoint


def _stored(name_or_path: str) -> HfCheckpoint | GgufCheckpoint:
    if name_or_path == "smollm2":
        return GgufCheckpoint(path=smollm2_path())
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return HfCheckpoint(folder=path)
    if path.is_file() and path.suffix == ".gguf":
        return GgufCheckpoint(path=path)
    if (found := repository(name_or_path)) is not None:
        return HfCheckpoint(folder=cached(found))
    if name_or_path in SHAPES:
        raise ValueError(
            f"the shape {name_or_path!r} has no weights of its own; load random ones (--load random), or name a folder"
        )
    raise ValueError(
        f"model {name_or_path!r} is no folder, no .gguf file and none of {', '.join(SHAPES)}; "
        "name a Hugging Face folder with config.json and safetensors, or a repository that was fetched, such as "
        "meta-llama/Llama-3.1-8B"
    )


@torch.no_grad()
def load_stage(
    checkpoint: Checkpoint,
    config: LlamaConfig,
    layers: range,
    first: bool,
    last: bool,
    dtype: torch.dtype,
    device: torch.device,
    tp: TensorParallelRank = UNSHARED,
    communicator: Communicator = SINGLE_RANK,
) -> Stage:
    """A stage, or a rank's part of it, with its weights; nothing else of a checkpoint is read.

    Raises ValueError naming file, tensor and remedy.
    """
    try:
        stage = Stage(config, layers, first, last, dtype, device, tp, communicator)
    except (RuntimeError, TypeError) as error:  # out of memory, under several names, or past what can be counted
        raise ValueError(
            f"the weights of {len(layers)} layers in {dtype} do not fit ({str(error).splitlines()[0]}); "
            "give more --pp or --tp, a smaller --dtype or a smaller model"
        ) from None
    checkpoint.load_into(state_dict_slices(stage), config)
    return stage.eval()
