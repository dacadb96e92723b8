"""The formal model: operations, semantics, explorer, verdicts. Never imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.verdict.decide import check
    from model.verdict.result import Result

__all__ = ["Result", "check"]


def __getattr__(name: str) -> Any:
    """What is offered here is imported when it is used: the command line needs little of it."""
    if name == "check":
        from model.verdict.decide import check

        return check
    if name == "Result":
        from model.verdict.result import Result

        return Result
    raise AttributeError(f"module 'model' has no attribute {name!r}")
