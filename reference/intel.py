"""intel-extension-for-pytorch, where it is installed and made for this torch; everything works without it.

Each of its releases is made for one release of torch and refuses others at its import. Its last one, 2.8, is also
the first release of torch that runs on Intel's GPUs by itself, so newer ones need no extension.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
from functools import cache
from typing import Any

import torch

from reference.device import DTYPES, EXTENDED

PACKAGE = "intel-extension-for-pytorch"
MODULE = "intel_extension_for_pytorch"
SWITCH = "RINGPROOF_IPEX"
"""Environment variable that says what `auto` is: on or off."""


@cache
def obstacle() -> str:
    """One line: why the extension cannot be used here, and what to do; empty where it can."""
    wanted = ".".join(torch.__version__.split(".")[:2])
    try:
        found = importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return f"{PACKAGE} is not installed; {_remedy(wanted)}"
    if not found.startswith(f"{wanted}."):
        return f"{PACKAGE} {found} is not made for torch {torch.__version__}; {_remedy(wanted)}"
    try:
        importlib.import_module(MODULE)
    except (ImportError, AttributeError, OSError) as error:
        return f"{PACKAGE} {found} cannot be imported ({error}); {_remedy(wanted)}"
    return ""


def decide(choice: str, kind: str, dtype: torch.dtype) -> bool:
    """Whether stages of this kind of device and dtype go through the extension.

    choice: on, off, or auto, which is on where it can be. Raises ValueError where `on` cannot be.
    """
    if choice == "auto":
        choice = os.environ.get(SWITCH, "auto")
    if choice not in ("auto", "on", "off"):
        raise ValueError(f"ipex is {choice!r}; choose one of auto, on, off (also in {SWITCH})")
    if choice == "off" or (choice == "auto" and (kind not in EXTENDED or obstacle())):
        return False
    if kind not in EXTENDED:
        raise ValueError(f"ipex: {PACKAGE} does nothing for device {kind!r}; choose one of {', '.join(EXTENDED)}")
    if obstacle():
        raise ValueError(f"ipex: {obstacle()}")
    if choice == "on" and dtype == DTYPES["float16"]:
        raise ValueError(f"ipex: {PACKAGE} optimises float32 and bfloat16; choose one of them, or --ipex off")
    return dtype != DTYPES["float16"]


def optimize(stage: torch.nn.Module, dtype: torch.dtype) -> None:
    """Lets the extension rewrite a stage for inference, in place: it packs weights and fuses what it knows."""
    module: Any = importlib.import_module(MODULE)
    module.optimize(stage.eval(), dtype=dtype, inplace=True)


def _remedy(wanted: str) -> str:
    if wanted == "2.8":
        return f"pip install {PACKAGE}=={wanted}.*, or leave --ipex at auto"
    return "in an environment of its own: pip install -e '.[intel]' 'torch==2.8.*', or leave --ipex at auto"
