"""The matrices of a stage in the layout of intel-extension-for-pytorch, for inference."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from reference import intel

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
        """`F.linear(input, weight)` goes to the extension."""
        if func is torch.nn.functional.linear and len(args) == 2 and not kwargs:
            return args[1].linear(args[0])
        return super().__torch_function__(func, types, args, kwargs or {})


def optimize(stage: torch.nn.Module, dtype: torch.dtype) -> int:
    """Lets the extension pack every matrix of a stage for inference, in place; how many there were.

    A table of embeddings that is the head too is kept beside its packed copy. Raises ValueError where the extension
    cannot be imported.
    """
    try:
        extension: Any = importlib.import_module(intel.MODULE)
    except (ImportError, AttributeError, OSError) as error:
        raise ValueError(
            f"ipex: {intel.PACKAGE} cannot be imported ({error}); install it anew, or use --ipex off"
        ) from None
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
