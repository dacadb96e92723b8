"""intel-extension-for-pytorch: whether it can be used here, and the matrices of a stage in its layout, for inference.

Each of its releases is made for one release of torch and refuses others at its import. Its last one, 2.8, is also
the first release of torch that runs on Intel's GPUs by itself, so newer ones need no extension.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

from reference.device import Device

PACKAGE = "intel-extension-for-pytorch"
MODULE = "intel_extension_for_pytorch"
PACKED_DTYPES = ("torch.float32", "torch.bfloat16")

SWITCH = "RINGPROOF_IPEX"
"""Environment variable that says what `auto` is: on or off."""

NOTHING_TO_FOLD = {"conv_bn_folding": False, "linear_bn_folding": False}
"""A Llama has no batch norms; looking for them would only turn modules into graphs."""

EMBEDDING = "embedding"
"""Name of the one matrix of a stage that is a table to look up."""


@cache
def unavailable_reason() -> str:
    """One line: why the extension cannot be used here, and what to do; empty where it can."""
    torch_version = importlib.metadata.version("torch")
    wanted = ".".join(torch_version.split(".")[:2])
    try:
        found = importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return f"{PACKAGE} is not installed; {_remedy(wanted)}"
    if not found.startswith(f"{wanted}."):
        return f"{PACKAGE} {found} is not made for torch {torch_version}; {_remedy(wanted)}"
    return ""


def worth_preloading() -> bool:
    """Whether to import it once, before ranks are started: it takes seconds where it will be used."""
    return not unavailable_reason() and os.environ.get(SWITCH) != "off"


def use_ipex(choice: str, device: Device, dtype: torch.dtype, *, captured: bool = False) -> bool:
    """Whether stages on this device and in this dtype go through the extension.

    choice: on, off, or auto, which is on where it can be; `SWITCH` may turn auto off, or insist that the extension
    is there. captured: whether kernels of our own must read the weights. Raises ValueError where `on` cannot be.
    """
    switch = os.environ.get(SWITCH, "auto")
    for name, value in (("ipex", choice), (SWITCH, switch)):
        if value not in ("auto", "on", "off"):
            raise ValueError(f"{name} is {value!r}; choose one of auto, on, off")
    against = unavailable_reason()
    if choice == "auto" and switch == "on" and against:
        raise ValueError(f"{SWITCH} is on: {against}")
    if not device.ipex_supported:
        against = f"{PACKAGE} does nothing for device {device.kind!r}; leave --ipex at auto"
    elif str(dtype) not in PACKED_DTYPES:
        against = f"{PACKAGE} packs no {dtype}; choose one of {', '.join(PACKED_DTYPES)}, or --ipex off"
    elif captured:
        against = "captured decode steps read plain weights; choose --decode plain, or --ipex off"
    if choice == "on" and against:
        raise ValueError(f"ipex: {against}")
    return choice != "off" and (choice == "on" or switch != "off") and not against


def _remedy(wanted: str) -> str:
    if wanted == "2.8":
        return f"pip install {PACKAGE}=={wanted}.*, or leave --ipex at auto"
    return f"in an environment of its own: pip install {PACKAGE}==2.8.* 'torch==2.8.*', or leave --ipex at auto"


class PrepackedWeight(torch.Tensor):
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


def import_ipex() -> Any:
    """The extension. It says much at its import, which is nothing that the user of a pipeline could act on.

    Raises ValueError where it cannot be imported.
    """
    try:
        with _silence():
            return importlib.import_module(MODULE)
    except (ImportError, AttributeError, OSError) as error:
        raise ValueError(f"ipex: {PACKAGE} cannot be imported ({error}); install it anew, or use --ipex off") from None


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


def prepack(stage: torch.nn.Module, dtype: torch.dtype) -> int:
    """Lets the extension prepack every matrix of a stage for inference, in place; how many there were.

    A table of embeddings that is the head too is kept beside its prepacked copy. Raises ValueError where the extension
    cannot be imported.
    """
    extension = import_ipex()
    prepacked = 0
    for module in stage.modules():
        for name, weight in list(module._parameters.items()):
            if weight is None or weight.dim() != 2 or name == EMBEDDING:
                continue
            linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta", dtype=weight.dtype)
            linear.weight = torch.nn.Parameter(weight.detach(), requires_grad=False)
            holder = extension.optimize(
                torch.nn.Sequential(linear).eval(), dtype=dtype, inplace=True, **NOTHING_TO_FOLD
            )
            empty = torch.empty(0, dtype=weight.dtype, device=weight.device).as_subclass(PrepackedWeight)
            empty.linear = holder[0]
            del module._parameters[name]
            object.__setattr__(module, name, empty)
            prepacked += 1
    return prepacked
