"""A pipeline-parallel Llama whose ranks perform the operations that `model` reasons about. See its README.md."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reference.config import EngineConfig as EngineConfig
    from reference.engine.engine import Engine as Engine
    from reference.engine.outputs import TokenOutput as TokenOutput
    from reference.scheduling.sampling_params import SamplingParams as SamplingParams

_HOME = {
    "Engine": "reference.engine.engine",
    "EngineConfig": "reference.config",
    "SamplingParams": "reference.scheduling.sampling_params",
    "TokenOutput": "reference.engine.outputs",
}


def __getattr__(name: str) -> Any:
    """Imports what is asked for when it is: torch is slow to import (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(_HOME)}")
    return getattr(import_module(_HOME[name]), name)
