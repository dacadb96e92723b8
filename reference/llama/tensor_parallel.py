"""Tensor parallelism inside a stage: the part of each weight that a rank holds, and what joins the parts again.

Heads, KV heads, the intermediate size and the vocabulary are divided, the hidden size is not: a matrix that reads
hidden states is cut by its rows, one that gives them by its columns, and then the ranks' results are added up.
Source: Megatron-LM, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor

from reference.llama.config import LlamaConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorParallelRank:
    """One of the `size` ranks that share a stage: it holds part `rank` of equal ones."""

    rank: int = 0
    size: int = 1

    def __post_init__(self) -> None:
        assert 0 <= self.rank < self.size, f"part {self.rank} of {self.size}"

    def shard_config(self, config: LlamaConfig) -> LlamaConfig:
        """The shape of this part: its heads, KV heads and intermediate size. ValueError where they do not divide."""
        check_tp(config, self.size)
        return replace(
            config,
            heads=config.heads // self.size,
            kv_heads=config.kv_heads // self.size,
            intermediate=config.intermediate // self.size,
        )

    def slice_of(self, length: int) -> slice:
        """This part of `length` things; the last part is smaller, even empty, where they do not divide."""
        each = -(-length // self.size)
        return slice(min(self.rank * each, length), min((self.rank + 1) * each, length))


UNSHARED = TensorParallelRank()
"""No tensor parallelism: one rank has the whole stage."""


def check_tp(config: LlamaConfig, tp: int) -> None:
    """Raises ValueError where the shape cannot be divided among `tp` ranks."""
    sizes = {
        "heads": config.heads,
        "KV heads": config.kv_heads,
        "intermediate size": config.intermediate,
        "hidden size": config.hidden,  # the messages between stages are cut, too
    }
    for name, value in sizes.items():
        if value % tp:
            fit = [n for n in range(1, config.kv_heads + 1) if not any(size % n for size in sizes.values())]
            raise ValueError(
                f"tp is {tp}, which does not divide the {name} ({value}) of this model; "
                f"give {' or '.join(map(str, fit))}"
            )


class Communicator(Protocol):
    """The collectives of the ranks that share a stage. Every rank calls the same of these in the same order.

    capturable: whether these can be part of work that a device captures (`reference.device.Device.capture`).
    """

    capturable: bool

    def all_reduce(self, x: Tensor) -> Tensor:
        """The sum of every rank's `x`, to the same bits on all; may be `x` itself, overwritten."""

    def all_gather(self, x: Tensor) -> Tensor:
        """Every rank's `x` [..., N], one after another, [..., size * N]."""


class SingleRank:
    """The communicator of a rank that shares its stage with no other."""

    capturable = True

    def all_reduce(self, x: Tensor) -> Tensor:
        """`x` itself."""
        return x

    def all_gather(self, x: Tensor) -> Tensor:
        """`x` itself."""
        return x


SINGLE_RANK = SingleRank()
