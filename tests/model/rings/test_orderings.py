"""Ordering policies: the registry, explicit vectors, wrong names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.rings.orderings import BATCHED, NAMED, POLICIES, ordering, output_policy


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_every_name_round_trips(name: str, ranks: int) -> None:
    found = ordering(name, ranks)
    assert found is NAMED[name]
    assert found.name == name
    assert found.description


@pytest.mark.parametrize(
    ("name", "vectors"),
    [
        ("send-first", ["S", "SS", "SSS", "SSSS", "SSSSS"]),
        ("receive-first", ["R", "RR", "RRR", "RRRR", "RRRRR"]),
        ("parity", ["S", "SR", "SRS", "SRSR", "SRSRS"]),
        ("last-sends-first", ["S", "RS", "RRS", "RRRS", "RRRRS"]),
        ("one-receives-first", ["S", "SR", "SRS", "SRSS", "SRSSS"]),
    ],
)
def test_vectors_of_the_named_orderings(name: str, vectors: list[str]) -> None:
    assert [ordering(name, ranks).vector(ranks) for ranks in range(1, 6)] == vectors


def test_the_table_of_vectors_is_complete() -> None:
    assert set(NAMED) == {"send-first", "receive-first", "parity", "last-sends-first", "one-receives-first"}


@given(st.text("SR", min_size=1, max_size=40))
def test_an_explicit_vector_round_trips(vector: str) -> None:
    found = ordering(vector, len(vector))
    assert found.name == found.vector(len(vector)) == vector
    assert ordering(found.name, len(vector)).vector(len(vector)) == vector


@given(st.sampled_from(sorted(NAMED)), st.integers(1, 20))
def test_halves_are_both_halves_in_the_order_of_the_letter(name: str, ranks: int) -> None:
    policy = ordering(name, ranks)
    for rank, letter in enumerate(policy.vector(ranks)):
        halves = policy.halves(rank, ranks)
        assert halves[0] == letter
        assert sorted(halves) == ["R", "S"]


@pytest.mark.parametrize("name", ["", "Parity", "parity ", "PARITY", "srs", "SRX", "S R", "send_first", "SRS\n", "0"])
def test_a_wrong_name_is_an_error_that_names_it_and_the_choices(name: str) -> None:
    with pytest.raises(ValueError) as error:
        ordering(name, 3)
    assert repr(name) in str(error.value)
    assert all(choice in str(error.value) for choice in NAMED)


@pytest.mark.parametrize(("name", "ranks"), [("SRS", 4), ("SRS", 2), ("S", 2), ("SR", 1)])
def test_a_vector_needs_one_letter_per_rank(name: str, ranks: int) -> None:
    with pytest.raises(ValueError, match=rf"'{name}' has {len(name)} letters for {ranks} ranks"):
        ordering(name, ranks)


@pytest.mark.parametrize("ranks", [0, -1])
@pytest.mark.parametrize("name", ["parity", "SRS", ""])
def test_an_ordering_needs_ranks(name: str, ranks: int) -> None:
    with pytest.raises(ValueError, match=f"ranks is {ranks}"):
        ordering(name, ranks)


def test_the_output_phase_can_be_told_a_group_as_well() -> None:
    assert set(POLICIES) - set(NAMED) == {"batched"}
    assert [name for name, policy in POLICIES.items() if policy.grouped] == ["batched"]
    assert all(output_policy(name, 3) is policy for name, policy in POLICIES.items())
    assert BATCHED.halves(1, 2) == ("S", "R")  # a library that replays its list must come to the sends first
    assert output_policy("SRS", 3).vector(3) == "SRS"
    for name in ("batch", "SR"):
        with pytest.raises(ValueError, match=repr(name)):
            output_policy(name, 3)
    with pytest.raises(ValueError, match="'batched'"):
        ordering("batched", 3)  # a ring of plain sends and receives has no groups
