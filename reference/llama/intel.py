"""Whether to use intel-extension-for-pytorch: where it is installed and made for this torch. Imports neither.

Each of its releases is made for one release of torch and refuses others at its import. Its last one, 2.8, is also
the first release of torch that runs on Intel's GPUs by itself, so newer ones need no extension.
"""

from __future__ import annotations

import importlib.metadata
import os
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from reference.device import Device

PACKAGE = "intel-extension-for-pytorch"
MODULE = "intel_extension_for_pytorch"
DTYPES = ("torch.float32", "torch.bfloat16")

SWITCH = "RINGPROOF_IPEX"
"""Environment variable that says what `auto` is: on or off."""


@cache
def obstacle() -> str:
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


def preload() -> tuple[str, ...]:
    """Modules to import once, before ranks are started: the extension takes seconds where it will be used."""
    return () if obstacle() or os.environ.get(SWITCH) == "off" else ("reference.ranks.packed_preload",)


def decide(choice: str, device: Device, dtype: torch.dtype, *, recorded: bool = False) -> bool:
    """Whether stages on this device and in this dtype go through the extension.

    choice: on, off, or auto, which is on where it can be; `SWITCH` may turn auto off, or insist that the extension
    is there. recorded: whether kernels of our own must read the weights. Raises ValueError where `on` cannot be.
    """
    switch = os.environ.get(SWITCH, "auto")
    for name, value in (("ipex", choice), (SWITCH, switch)):
        if value not in ("auto", "on", "off"):
            raise ValueError(f"{name} is {value!r}; choose one of auto, on, off")
    against = obstacle()
    if choice == "auto" and switch == "on" and against:
        raise ValueError(f"{SWITCH} is on: {against}")
    if not device.extended:
        against = f"{PACKAGE} does nothing for device {device.kind!r}; leave --ipex at auto"
    elif str(dtype) not in DTYPES:
        against = f"{PACKAGE} packs no {dtype}; choose one of {', '.join(DTYPES)}, or --ipex off"
    elif recorded:
        against = "recorded decode steps read plain weights; choose --decode plain, or --ipex off"
    if choice == "on" and against:
        raise ValueError(f"ipex: {against}")
    return choice != "off" and (choice == "on" or switch != "off") and not against


def _remedy(wanted: str) -> str:
    if wanted == "2.8":
        return f"pip install {PACKAGE}=={wanted}.*, or leave --ipex at auto"
    return "in an environment of its own: pip install -e '.[intel]' 'torch==2.8.*', or leave --ipex at auto"
