"""The preflight: which orderings it lets pass, for the engine's own loop, and what it says of the others."""

import itertools

import pytest

from model import check
from model.pipelines.serving import CONTROL, DATA, unroll
from model.rings.orderings import BATCHED, NAMED, POLICIES, Ordering
from model.semantics.libraries import NAMED as LIBRARIES
from model.semantics.libraries import semantics
from reference.device import SEMANTICS
from reference.verification.preflight import DeadlockPredicted, choose_ordering, predict, preflight

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
    policy = choose_ordering(name, ranks=1, depth=2, control=BACKEND, data="rendezvous")
    assert preflight(ranks=1, depth=2, policy=policy, control=BACKEND, data="rendezvous").verdict == "ok"


def test_a_refusal_carries_the_circuit_and_a_cure_that_holds() -> None:
    policy = chosen("SSSS", ranks=4, depth=0, data="rendezvous")
    with pytest.raises(DeadlockPredicted) as refused:
        preflight(ranks=4, depth=0, policy=policy, control=BACKEND, data="rendezvous")
    assert [item.rank for item in refused.value.result.circuit] == [0, 1, 2, 3]
    message = str(refused.value)
    assert "\n" not in message
    assert "rank 3 in isend(0, " in message
    cure = message.split("use --ordering ")[1].split()[0]
    policy = chosen(cure, ranks=4, depth=0, data="rendezvous")
    preflight(ranks=4, depth=0, policy=policy, control=BACKEND, data="rendezvous")


@pytest.mark.parametrize("data", DEADLOCKS)
def test_auto_is_always_sound(data: str) -> None:
    for ranks in range(1, 6):
        policy = chosen("auto", ranks=ranks, depth=1, data=data)
        preflight(ranks=ranks, depth=1, policy=policy, control=BACKEND, data=data)


SENDING, WAITING = ("send-first",) * 3, ("parity",) * 3
CHOSEN = {
    "rendezvous": WAITING,
    "eager": SENDING,
    "gloo": SENDING,
    "ssend": SENDING,
    "bsend": SENDING,
    "mpich": SENDING,
    "openmpi": SENDING,
    "intelmpi": SENDING,
    "smpi": SENDING,
    # one stream for both directions of a pair: with two ranks the outputs meet in it
    "nccl": ("parity", "send-first", "send-first"),
    "nccl-cold": ("parity", "send-first", "send-first"),
    "nccl-eager-init": WAITING,
    "nccl-batched": WAITING,
    "xccl": WAITING,
    "xccl-group": WAITING,
    "oneccl": WAITING,
    "oneccl-mpich": WAITING,
    "oneccl-group": WAITING,
    "hccl": WAITING,
}
"""Library to the policy that `auto` takes for 2, 3 and 4 ranks, at every depth."""


def chosen(name: str, *, ranks: int, depth: int, data: str) -> Ordering:
    return choose_ordering(name, ranks=ranks, depth=depth, control=BACKEND, data=data)


def test_every_library_has_a_policy_or_is_known_to_have_none() -> None:
    assert {*CHOSEN, "deferred"} == set(LIBRARIES)
    assert set(SEMANTICS.values()) <= set(CHOSEN)


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize("data", CHOSEN)
def test_the_policy_of_each_library(data: str, depth: int) -> None:
    assert tuple(chosen("auto", ranks=ranks, depth=depth, data=data).name for ranks in (2, 3, 4)) == CHOSEN[data]


def test_where_a_transfer_starts_at_its_wait_only_a_group_is_sound_and_only_without_depth() -> None:
    for ranks in (2, 3, 4):
        assert chosen("auto", ranks=ranks, depth=0, data="deferred") is BATCHED
        with pytest.raises(DeadlockPredicted, match="use a backend whose isend returns at once"):
            policy = chosen("auto", ranks=ranks, depth=1, data="deferred")
            preflight(ranks=ranks, depth=1, policy=policy, control=BACKEND, data="deferred")


def test_a_policy_that_only_buffering_saves_is_not_chosen() -> None:
    """With two ranks on NCCL, and on oneCCL, sending first is ok as long as the outputs fit into the library."""
    for data in ("nccl-cold", "oneccl"):
        result = predict(ranks=2, depth=0, policy=NAMED["send-first"], control=BACKEND, data=data)
        assert (result.verdict, result.depends_on_buffering) == ("ok", True)


@pytest.mark.parametrize("name", ["parity", "batched"])
@pytest.mark.parametrize(("ranks", "longest"), [(2, 6), (3, 6)])
@pytest.mark.parametrize("data", ["hccl", "nccl-cold", "nccl-eager-init", "xccl-group"])
def test_the_cures_hold_for_every_pattern_of_batches_not_only_for_full_slots(
    data: str, ranks: int, longest: int, name: str
) -> None:
    """With nothing stored, too. Where both directions share a stream, messages of a pair have one order for both."""
    world = {CONTROL: semantics(BACKEND), DATA: semantics(data).unbuffered()}
    tried = 0
    for length, depth in itertools.product(range(1, longest + 1), (0, 1)):
        for present in itertools.product((False, True), repeat=length):
            if present[0] and present[-1]:
                tried += 1
                made = unroll(ranks=ranks, depth=depth, ordering=POLICIES[name], present=present)
                assert check(made, world).verdict == "ok", present
    assert tried == 2**longest


def test_an_unknown_policy_is_named_with_the_choices() -> None:
    with pytest.raises(ValueError, match=r"'paritty'; choose one of send-first.*batched, or a vector"):
        chosen("paritty", ranks=2, depth=0, data=BACKEND)
