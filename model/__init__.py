"""The formal model: operations, semantics, explorer, verdicts. Never imports torch."""

from model.verdict import Result, check

__all__ = ["Result", "check"]
