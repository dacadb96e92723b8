"""The matrices of a stage in the layout of intel-extension-for-pytorch, for inference."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from reference.llama import intel

NOTHING_TO_FOLD = {"conv_bn_folding": False, "linear_bn_folding": False}
"""A Llama has no batch norms; looking for them would only turn modules into graphs."""

EMBEDDING = "embedding"
"""Name of the one matrix of a stage that is a table to look up."""


class PackedWeight(torch.Tensor):
    """A weight in the extension's own layout: `F.linear` with it is the extension's kernel, and nothing else is of use.

    So the stage stays as it is written, with plain weights. `linear` is what the extension made of it.
    """

    linear: torch.nn.Module

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """`F.linear(input, weight, bias)` goes to the extension."""
        if func is torch.nn.functional.linear and len(args) in (2, 3) and not kwargs:
            product = args[1].linear(args[0])
            return product if len(args) == 2 or args[2] is None else product.add_(args[2])
        return super().__torch_function__(func, types, args, kwargs or {})


def load() -> Any:
    """The extension. It says much at its import, which is nothing that the user of a pipeline could act on.

    Raises ValueError where it cannot be imported.
    """
    try:
        with _silence():
            return importlib.import_module(intel.MODULE)
    except (ImportError, AttributeError, OSError) as error:
        raise ValueError(
            f"ipex: {intel.PACKAGE} cannot be imported ({error}); install it anew, or use --ipex off"
        ) from None


@contextmanager
def _silence() -> Iterator[None]:
    """Nothing reaches standard output or error, from compiled code neither."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in (1, 2)]
    try:
        with open(os.devnull, "wb") as nowhere:
            for number in (1, 2):
                os.dup2(nowhere.fileno(), number)
        yield
    finally:
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)


def optimize(stage: torch.nn.Module, dtype: torch.dtype) -> int:
    """Lets the extension pack every matrix of a stage for inference, in place; how many there were.

    A table of embeddings that is the head too is kept beside its packed copy. Raises ValueError where the extension
    cannot be imported.
    """
    extension = load()
    packed = 0
    for module in stage.modules():
        for name, weight in list(module._parameters.items()):
            if weight is None or weight.dim() != 2 or name == EMBEDDING:
                continue
            linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta", dtype=weight.dtype)
            linear.weight = torch.nn.Parameter(weight.detach(), requires_grad=False)
            holder = extension.optimize(
                torch.nn.Sequential(linear).eval(), dtype=dtype, inplace=True, **NOTHING_TO_FOLD
            )
            empty = torch.empty(0, dtype=weight.dtype, device=weight.device).as_subclass(PackedWeight)
            empty.linear = holder[0]
            del module._parameters[name]
            object.__setattr__(module, name, empty)
            packed += 1
    return packed
