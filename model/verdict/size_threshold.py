"""From which size of its messages on a program hangs that finishes with small ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from model.program.checked import Program, wildcard_free
from model.program.ops import DEFAULT_NBYTES, Batch, Isend, Operation, Send, Sendrecv
from model.semantics.libraries import LARGE
from model.semantics.parameters import UNLIMITED, Semantics, SemanticsByComm
from model.verdict.decide import check
from model.verdict.result import Result, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeThreshold:
    """The verdict turns where messages without a size, taken as `assumed` bytes, have `nbytes` or more."""

    assumed: int
    nbytes: int
    verdict: Verdict

    def __str__(self) -> str:
        size = "1 byte" if self.assumed == 1 else f"{self.assumed} bytes"
        return f"messages without a size are taken as {size}; from {self.nbytes} bytes on it is a {self.verdict}"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types, one key a field."""
        return {"assumed": self.assumed, "nbytes": self.nbytes, "verdict": self.verdict}


def find_size_threshold(program: Program, libraries: SemanticsByComm, result: Result) -> SizeThreshold | None:
    """From which size of the messages without one the verdict turns; None where it turns at none up to `LARGE`.

    result: the verdict as it stands. A larger message is stored no sooner, so the verdict turns once, and bisection
    finds where. A program with wildcards is left out: there one run does not decide.
    """
    if result.hangs or not wildcard_free(program) or not any(map(_has_limit, libraries.values())):
        return None

    def at(nbytes: int) -> Result:
        return check(_sized(program, nbytes), libraries)

    if _sized(program, LARGE) == program:
        return None
    turned = at(LARGE)
    if not turned.hangs:
        return None
    finishes, hangs = DEFAULT_NBYTES, LARGE
    while hangs - finishes > 1:
        middle = (finishes + hangs) // 2
        turning = at(middle)
        if turning.hangs:
            hangs, turned = middle, turning
        else:
            finishes = middle
    return SizeThreshold(assumed=DEFAULT_NBYTES, nbytes=hangs, verdict=turned.verdict)


def _has_limit(library: Semantics) -> bool:
    """Whether a library stores messages up to a size."""
    limits = (library.eager_limit, library.fifo)
    return any(limits) and UNLIMITED not in (*limits, library.capacity)


def _sized(program: Program, nbytes: int) -> Program:
    return tuple(tuple(_with_size(op, nbytes) for op in ops) for ops in program)


def _with_size(op: Operation, nbytes: int) -> Operation:
    if isinstance(op, Batch):
        return Batch(ops=tuple(_with_size(part, nbytes) for part in op.ops))  # type: ignore[misc]
    if isinstance(op, Send | Isend | Sendrecv) and op.nbytes == DEFAULT_NBYTES:
        return replace(op, nbytes=nbytes)
    return op
