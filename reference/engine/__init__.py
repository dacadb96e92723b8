"""The engine: text in, tokens and text out, over ranks in processes of their own."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reference.engine.engine import Engine as Engine
    from reference.engine.output_processor import RequestHandle as RequestHandle
    from reference.engine.outputs import EngineStats as EngineStats
    from reference.engine.outputs import TokenOutput as TokenOutput

_HOME = {
    "Engine": "reference.engine.engine",
    "EngineStats": "reference.engine.outputs",
    "RequestHandle": "reference.engine.output_processor",
    "TokenOutput": "reference.engine.outputs",
}


def __getattr__(name: str) -> Any:
    """Imports what is asked for when it is: torch is slow to import (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(_HOME)}")
    return getattr(import_module(_HOME[name]), name)
