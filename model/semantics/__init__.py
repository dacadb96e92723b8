"""What a library makes of a program: its semantics as data, the instructions they give, and their guards."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.semantics.libraries import bounded as bounded
    from model.semantics.libraries import eager as eager
    from model.semantics.libraries import fifo as fifo
    from model.semantics.libraries import semantics as semantics
    from model.semantics.lowering import lower as lower
    from model.semantics.parameters import UNLIMITED as UNLIMITED
    from model.semantics.parameters import Semantics as Semantics
    from model.semantics.parameters import SemanticsByComm as SemanticsByComm

_HOMES = {
    "UNLIMITED": "model.semantics.parameters",
    "Semantics": "model.semantics.parameters",
    "SemanticsByComm": "model.semantics.parameters",
    "bounded": "model.semantics.libraries",
    "eager": "model.semantics.libraries",
    "fifo": "model.semantics.libraries",
    "lower": "model.semantics.lowering",
    "semantics": "model.semantics.libraries",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    """Imports what is asked for, when it is asked for (PEP 562): a sub-module loads no other."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
