"""The formal model: operations, semantics, explorer, verdicts. Never imports torch."""

from model.verdict.decide import Result, check

__all__ = ["Result", "check"]
