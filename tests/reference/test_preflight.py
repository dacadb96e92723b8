"""The preflight: which orderings it lets pass, for the engine's own loop, and what it says of the others."""

import pytest

from model.orderings import NAMED
from reference.preflight import DeadlockAhead, choose, predict, preflight

BACKEND = "gloo"

DEADLOCKS = {
    BACKEND: {"receive-first"},
    "eager": {"receive-first"},
    "bounded(1)": {"receive-first"},
    "rendezvous": {"receive-first", "send-first"},
    "xccl": {"receive-first", "send-first"},
}
"""Declared semantics of the data messages to the named orderings that must deadlock (statements 7 and 8)."""


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("ranks", [2, 3, 4, 5])
@pytest.mark.parametrize("data", DEADLOCKS)
def test_exactly_the_orderings_that_deadlock_are_refused(data: str, ranks: int, depth: int) -> None:
    verdicts = {
        name: predict(ranks=ranks, depth=depth, policy=policy, control=BACKEND, data=data).verdict
        for name, policy in NAMED.items()
    }
    assert {name for name, verdict in verdicts.items() if verdict != "ok"} == DEADLOCKS[data]


@pytest.mark.parametrize("name", NAMED)
def test_one_rank_needs_no_ordering(name: str) -> None:
    policy = choose(name, ranks=1, data="rendezvous")
    assert preflight(ranks=1, depth=2, policy=policy, control=BACKEND, data="rendezvous").verdict == "ok"


def test_a_refusal_carries_the_circuit_and_a_cure_that_holds() -> None:
    with pytest.raises(DeadlockAhead) as refused:
        preflight(ranks=4, depth=0, policy=choose("SSSS", ranks=4, data=BACKEND), control=BACKEND, data="rendezvous")
    assert [item.rank for item in refused.value.result.circuit] == [0, 1, 2, 3]
    message = str(refused.value)
    assert "\n" not in message
    assert "rank 3 in isend(0, " in message
    cure = message.split("use --ordering ")[1].split()[0]
    preflight(ranks=4, depth=0, policy=choose(cure, ranks=4, data=BACKEND), control=BACKEND, data="rendezvous")


@pytest.mark.parametrize("data", DEADLOCKS)
def test_auto_is_always_sound(data: str) -> None:
    for ranks in range(1, 6):
        preflight(ranks=ranks, depth=1, policy=choose("auto", ranks=ranks, data=data), control=BACKEND, data=data)
