"""Before the first message: would the loop that is about to run hang on the libraries that it will run on?

The engine's own loop, of every rank of the grid and with its stages' collectives, is unrolled with every slot full,
which is when its rings close, and the model decides.
Three rounds of all slots are enough: a circuit closes within P iterations that carry a batch (statement 8).
"""

from __future__ import annotations

from model import Result, check
from model.grid import BESIDE, unroll_grid
from model.libraries import semantics
from model.orderings import NAMED, Ordering, ordering
from model.semantics import Semantics
from model.serving import CONTROL, DATA

BLOCKING_ISEND = "rendezvous"
"""The declared semantics of a backend whose isend is made to block until its receive is posted."""


class DeadlockAhead(ValueError):
    """The model says that the pipeline would hang. Carries the model's `result`."""

    def __init__(self, message: str, result: Result) -> None:
        self.result = result
        super().__init__(message)


def choose(name: str, *, ranks: int, data: str) -> Ordering:
    """The ordering of a name; `auto` is parity where an isend waits for its receive, and send-first elsewhere.

    data: the declared semantics of the data communicator. Raises ValueError on an unknown name of either.
    """
    if name == "auto":
        name = "parity" if semantics(data).isend_returns == "match" else "send-first"
    return ordering(name, ranks)


def predict(*, ranks: int, depth: int, policy: Ordering, control: str, data: str, tp: int = 1) -> Result:
    """The model's verdict on `ranks` stages of `tp` ranks with every slot full. `control`, `data`: declared semantics.

    A stage's collectives are judged by the library of the same kind of message.
    """
    present = [True] * (3 * (ranks + depth))
    program = unroll_grid(stages=ranks, tp=tp, depth=depth, ordering=policy, present=present)
    world: dict[str, Semantics] = {CONTROL: semantics(control), DATA: semantics(data)}
    return check(program, world | {shared: world[comm] for shared, comm in BESIDE.items()})


def preflight(*, ranks: int, depth: int, policy: Ordering, control: str, data: str, tp: int = 1) -> Result:
    """The model's verdict, which is `ok`; raises DeadlockAhead, with circuit and cure, on any other."""
    result = predict(ranks=ranks, depth=depth, policy=policy, control=control, data=data, tp=tp)
    if result.verdict == "ok":
        return result
    circuit = ", ".join(
        f"rank {item.rank} in {item.op} waits for rank {', '.join(map(str, item.waits_for))}" for item in result.circuit
    )
    cures = [
        name
        for name, other in sorted(NAMED.items(), key=lambda item: item[0] != "parity")
        if predict(ranks=ranks, depth=depth, policy=other, control=control, data=data, tp=tp).verdict == "ok"
    ]
    cure = f"use --ordering {cures[0]}" if cures else "use a backend whose isend returns at once"
    size = f"{ranks} ranks" if tp == 1 else f"{ranks} stages of {tp} ranks"
    raise DeadlockAhead(
        f"ordering {policy.name} with {size} would end in a {result.verdict} where data messages are sent "
        f"as in {data!r}: {circuit}; {cure} (or run it all the same with --no-preflight)",
        result,
    )
