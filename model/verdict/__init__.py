"""Verdicts: does a program finish, and if not, who waits for whom?"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.verdict.by_graph import check_table as check_table
    from model.verdict.decide import check as check
    from model.verdict.decide import check_contract as check_contract
    from model.verdict.result import Blocked as Blocked
    from model.verdict.result import PathStep as PathStep
    from model.verdict.result import Result as Result

_HOMES = {
    "check": "model.verdict.decide",
    "check_contract": "model.verdict.decide",
    "check_table": "model.verdict.by_graph",
    "Blocked": "model.verdict.result",
    "PathStep": "model.verdict.result",
    "Result": "model.verdict.result",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    """Imports what is asked for, when it is asked for (PEP 562): a sub-module loads no other."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
