"""Semantics: the registry, bounded(k), worlds of several communicators, wrong names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.semantics.libraries import NAMED, bounded, semantics
from model.semantics.parameters import EVERY_COMM, UNLIMITED, Semantics, semantics_by_comm, semantics_of


@pytest.mark.parametrize("name", NAMED)
def test_every_name_round_trips(name: str) -> None:
    assert semantics(name) is NAMED[name]
    assert semantics(name).name == name
    assert semantics(name).source


def test_the_named_semantics() -> None:
    def summary(rules: Semantics) -> tuple[str, int, int]:
        return rules.isend_returns, rules.eager_limit, rules.capacity

    basic = ("rendezvous", "eager", "gloo", "xccl", "mpich", "openmpi", "smpi", "intelmpi", "ssend", "bsend")
    assert {name: summary(NAMED[name]) for name in basic} == {
        "rendezvous": ("match", 0, 0),
        "eager": ("post", UNLIMITED, 0),
        "gloo": ("post", 0, 0),
        "xccl": ("match", 0, 0),
        "mpich": ("post", 8112, 0),
        "openmpi": ("post", 4016, 0),
        "smpi": ("post", 65535, 0),
        "intelmpi": ("post", UNLIMITED, 0),
        "ssend": ("post", 0, 0),
        "bsend": ("post", UNLIMITED, 0),
    }


@given(st.integers(0, 10**9 - 1))
def test_bounded_round_trips_in_both_spellings(capacity: int) -> None:
    rules = semantics(f"bounded({capacity})")
    assert rules == bounded(capacity) == semantics(f"bounded:{capacity}") == semantics(rules.name)
    assert rules.capacity == capacity


@pytest.mark.parametrize("name", ["bounded(-1)", "bounded:-7"])
def test_a_negative_capacity_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match=r"bounded\(-\d\): the capacity is negative"):
        semantics(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Rendezvous",
        "eager ",
        "nccl ",
        "bounded",
        "bounded()",
        "bounded(2",
        "bounded:2)",
        "bounded 2",
        "bounded(1.5)",
        "bounded(k)",
        "bounded(1)\n",
        "bounded(٢)",  # a digit, but not one of ours
        "bounded(1000000000)",
    ],
)
def test_a_wrong_name_is_an_error_that_names_it_and_the_choices(name: str) -> None:
    with pytest.raises(ValueError) as error:
        semantics(name)
    assert repr(name) in str(error.value)
    assert all(choice in str(error.value) for choice in [*NAMED, "bounded(k)"])


@pytest.mark.parametrize(
    ("rules", "nbytes", "waiting", "stored"),
    [
        (NAMED["rendezvous"], 0, 0, False),
        (NAMED["gloo"], 1, 0, False),
        (NAMED["eager"], 10**12, 10**6, True),
        (NAMED["mpich"], 8112, 10**6, True),
        (NAMED["mpich"], 8113, 0, False),
        (bounded(0), 0, 0, False),
        (bounded(2), 10**12, 1, True),
        (bounded(2), 1, 2, False),
    ],
)
def test_stores(rules: Semantics, nbytes: int, waiting: int, stored: bool) -> None:
    assert rules.stores(nbytes, waiting) is stored


def test_a_world_gives_each_communicator_its_semantics() -> None:
    assert semantics_of(semantics_by_comm(NAMED["gloo"]), "anything") is NAMED["gloo"]
    mixed = {"data": NAMED["xccl"], EVERY_COMM: NAMED["gloo"]}
    assert semantics_of(mixed, "data") is NAMED["xccl"]
    assert semantics_of(mixed, "control") is NAMED["gloo"]
    with pytest.raises(ValueError, match="no semantics for communicator 'control'"):
        semantics_of({"data": NAMED["xccl"]}, "control")
