"""The formal model: operations, semantics, explorer, verdicts. Never imports torch."""

from model.verdict.decide import check
from model.verdict.result import Result

__all__ = ["Result", "check"]
