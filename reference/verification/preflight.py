"""Before the first message: would the loop that is about to run hang on the libraries that it will run on?

The engine's own loop, of every rank of the grid and with its stages' collectives, is unrolled with every slot full,
which is when its rings close, and the model decides.
Three rounds of all slots are enough: a circuit closes within P iterations that carry a batch (statement 8).
"""

from __future__ import annotations

from functools import cache

from model import Result, check
from model.pipelines.serving import CONTROL, DATA
from model.pipelines.tensor_parallel import STAGE_LIBRARY, unroll_grid
from model.rings.orderings import BATCHED, Ordering, output_policy
from model.semantics.libraries import semantics
from model.semantics.parameters import Semantics
from model.verdict.arguments import of_its_communicators

BLOCKING_ISEND = "rendezvous"
"""The declared semantics of a backend whose isend is made to block until its receive is posted."""

PREFERRED = ("send-first", "parity", BATCHED.name)
"""Policies from the best to the last resort. Sending first keeps nobody waiting; parity lets half of the ranks wait
for a message before they send; a group lets every rank wait for both."""


class DeadlockPredicted(ValueError):
    """The model says that the pipeline would hang. Carries the model's `result`."""

    def __init__(self, message: str, result: Result) -> None:
        self.result = result
        super().__init__(message)


def choose_ordering(name: str, *, ranks: int, depth: int, control: str, data: str, tp: int = 1) -> Ordering:
    """The output phase's policy of a name; `auto` asks the model.

    It is the first of `PREFERRED` under which the serving loop finishes, and would without any buffering too;
    where there is none the first of them, which `preflight` refuses. control, data: the declared semantics.
    Raises ValueError on an unknown name of a policy or of semantics.
    """
    if name != "auto":
        return output_policy(name, ranks)
    policies = [output_policy(candidate, ranks) for candidate in PREFERRED]
    sound = (policy for policy in policies if _sound(policy, ranks, depth, control, data, tp))
    return next(sound, policies[0])


@cache
def predict(*, ranks: int, depth: int, policy: Ordering, control: str, data: str, tp: int = 1) -> Result:
    """The model's verdict on `ranks` stages of `tp` ranks with every slot full. `control`, `data`: declared semantics.

    A stage's collectives are judged by the library of the same kind of message. The loop begins with the first
    message of each connection, so libraries that make them then are asked for that.
    """
    present = [True] * (3 * (ranks + depth))
    program = unroll_grid(stages=ranks, tp=tp, depth=depth, ordering=policy, present=present)
    world: dict[str, Semantics] = {CONTROL: semantics(control), DATA: semantics(data)}
    world |= {stage: world[comm] for stage, comm in STAGE_LIBRARY.items()}
    return check(program, of_its_communicators(program, world))


def preflight(*, ranks: int, depth: int, policy: Ordering, control: str, data: str, tp: int = 1) -> Result:
    """The model's verdict, which is `ok`; raises DeadlockPredicted, with circuit and cure, on any other."""
    result = predict(ranks=ranks, depth=depth, policy=policy, control=control, data=data, tp=tp)
    if result.verdict == "ok":
        return result
    circuit = ", ".join(
        f"rank {item.rank} in {item.op} waits for rank {', '.join(map(str, item.waits_for))}" for item in result.circuit
    )
    cures = [
        name
        for name in sorted(PREFERRED, key=lambda name: name != "parity")  # it holds on more libraries than the others
        if _sound(output_policy(name, ranks), ranks, depth, control, data, tp)
    ]
    cure = f"use --ordering {cures[0]}" if cures else "use a backend whose isend returns at once"
    size = f"{ranks} ranks" if tp == 1 else f"{ranks} stages of {tp} ranks"
    raise DeadlockPredicted(
        f"ordering {policy.name} with {size} would end in a {result.verdict} where data messages are sent "
        f"as in {data!r}: {circuit}; {cure} (or run it all the same with --no-preflight)",
        result,
    )


def _sound(policy: Ordering, ranks: int, depth: int, control: str, data: str, tp: int) -> bool:
    result = predict(ranks=ranks, depth=depth, policy=policy, control=control, data=data, tp=tp)
    return result.verdict == "ok" and not result.depends_on_buffering
