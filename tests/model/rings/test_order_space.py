"""All orderings at once, held against verdicts one by one and against the closed forms."""

import itertools
import json
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import check
from model.events.cycle_ratio import maximum_cycle_ratio
from model.rings.order_space import MAX_RANKS, Space, Tally, makespans, period, space
from model.rings.orderings import NAMED, ordering
from model.rings.ring_program import ring
from model.semantics.libraries import semantics


def word(vector: str) -> int:
    """Bit r is set where rank r sends first."""
    return sum(1 << rank for rank, letter in enumerate(vector) if letter == "S")


def vector(number: int, ranks: int) -> str:
    return "".join("S" if number >> rank & 1 else "R" for rank in range(ranks))


def makespan(name: str) -> int:
    return int(makespans(np.array([word(name)], dtype=np.uint32), len(name))[0])


def longest_cyclic_run(name: str) -> int:
    return min(len(name), max(len(list(group)) for _, group in itertools.groupby(name + name)))


def closed_form(name: str) -> int:
    """Statement 4; 0 for a deadlock."""
    return 0 if len(set(name)) == 1 else 1 + longest_cyclic_run(name)


def step_by_step(name: str) -> int:
    """One round with lists instead of words: every step, all transfers whose two ranks have come to them."""
    ranks = len(name)
    todo = [["send", "recv"] if letter == "S" else ["recv", "send"] for letter in name]
    for step in itertools.count(1):
        ready = [
            rank for rank in range(ranks) if todo[rank][:1] == ["send"] and todo[(rank + 1) % ranks][:1] == ["recv"]
        ]
        for rank in ready:
            del todo[rank][0], todo[(rank + 1) % ranks][0]
        if not any(todo):
            return step
        if not ready:
            return 0
    raise AssertionError


@pytest.mark.parametrize("ranks", range(2, 12))
def test_statement_4_the_closed_form(ranks: int) -> None:
    every = np.arange(1 << ranks, dtype=np.uint32)
    assert makespans(every, ranks).tolist() == [closed_form(vector(number, ranks)) for number in range(1 << ranks)]


@given(st.integers(2, MAX_RANKS).flatmap(lambda ranks: st.text("SR", min_size=ranks, max_size=ranks)))
def test_words_lists_and_the_closed_form_agree_on_long_rings(name: str) -> None:
    assert makespan(name) == step_by_step(name) == closed_form(name)


@pytest.mark.parametrize("ranks", range(2, 7))
def test_deadlocks_are_those_of_the_verdict(ranks: int) -> None:
    for number in range(1 << ranks):
        name = vector(number, ranks)
        program = ring(ranks=ranks, rounds=1, ordering=ordering(name, ranks))
        verdict = check(program, semantics("rendezvous"), engine="explorer").verdict
        assert (makespan(name) == 0) == (verdict == "deadlock"), name


@pytest.mark.parametrize("ranks", range(2, 17))
def test_two_deadlocks_and_parity_attains_the_minimum(ranks: int) -> None:
    found = space(ranks)
    assert found.orderings == 2**ranks
    assert found.deadlocks == 2
    assert sum(found.makespan.values()) == 2**ranks - 2
    assert min(found.makespan) == makespan(NAMED["parity"].vector(ranks)) == 2 + ranks % 2
    assert max(found.makespan) == ranks
    assert makespan(NAMED["last-sends-first"].vector(ranks)) == ranks


def test_pinned_spaces() -> None:
    assert {ranks: space(ranks).makespan for ranks in range(2, 7)} == {
        2: {2: 2},
        3: {3: 6},
        4: {2: 2, 3: 4, 4: 8},
        5: {3: 10, 4: 10, 5: 10},
        6: {2: 2, 3: 18, 4: 18, 5: 12, 6: 12},
    }


def test_only_the_two_parities_take_two_steps() -> None:
    fastest = [vector(number, 8) for number in range(256) if makespan(vector(number, 8)) == 2]
    assert sorted(fastest) == ["RSRSRSRS", "SRSRSRSR"]


def test_spaces_larger_than_a_chunk_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = space(11)
    monkeypatch.setattr("model.rings.order_space._CHUNK_BITS", 5)
    told: list[int] = []
    assert space(11, progress=told.append) == whole
    assert told == list(range(32, 2**11 + 1, 32))


def closed_period(name: str) -> Fraction | None:
    """Statement 5."""
    least = min(name.count("S"), name.count("R"))
    return Fraction(len(name), least) if least else None


def event_graph_period(name: str) -> Fraction | None:
    """The maximum cycle ratio of the repeated step, with no thought of which circuits there are."""
    ranks = len(name)
    arcs = []
    for rank, letter in enumerate(name):
        own, other = rank, (rank - 1) % ranks
        first, second = (own, other) if letter == "S" else (other, own)
        arcs += [(first, second, 1, 0), (second, first, 1, 1)]
    found = maximum_cycle_ratio(ranks, *zip(*arcs, strict=True))
    assert found is not None
    return found.ratio


def steps_of_rounds(name: str, rounds: int) -> int:
    """Steps until every transfer of `rounds` rounds is done, transfer by transfer; deadlock-free orderings only."""
    ranks = len(name)
    done = [0] * ranks
    for step in itertools.count(1):
        # rank r has come to its transfer e in the round that e is in: its other transfer is as far as it must be
        ready = [
            edge
            for edge in range(ranks)
            if done[edge] < rounds
            and done[(edge - 1) % ranks] - done[edge] == (0 if name[edge] == "S" else 1)
            and done[(edge + 1) % ranks] - done[edge] == (0 if name[(edge + 1) % ranks] == "R" else 1)
        ]
        for edge in ready:
            done[edge] += 1
        if min(done) == rounds:
            return step
        assert ready
    raise AssertionError


@pytest.mark.parametrize("ranks", range(2, 11))
def test_statement_5_the_period_is_the_cycle_ratio_and_the_closed_form(ranks: int) -> None:
    for number in range(1 << ranks):
        name = vector(number, ranks)
        assert period(number, ranks) == event_graph_period(name) == closed_period(name), name


@given(st.integers(3, 9).flatmap(lambda ranks: st.text("SR", min_size=ranks, max_size=ranks)))
def test_statement_5_the_period_is_what_a_long_run_takes(name: str) -> None:
    expected = period(word(name), len(name))
    if expected is not None:
        tokens = min(name.count("S"), name.count("R"))  # of the critical circuits: growth repeats after so many rounds
        ramp = steps_of_rounds(name, 12 * tokens)
        assert steps_of_rounds(name, 13 * tokens) - ramp == tokens * expected


@pytest.mark.parametrize("ranks", range(2, 13))
def test_space_is_the_count_of_the_closed_forms(ranks: int) -> None:
    names = [vector(number, ranks) for number in range(1 << ranks)]
    least = [name for name in names if name == max(name[turn:] + name[:turn] for turn in range(ranks))]
    assert space(ranks) == Space(ranks=ranks, every=tally(names), rotations=tally(least))


def tally(names: list[str]) -> Tally:
    counts = Counter(closed_form(name) for name in names)
    deadlocks = counts.pop(0)
    periods = Counter(closed_period(name) for name in names)
    del periods[None]
    return Tally(orderings=len(names), deadlocks=deadlocks, makespan=dict(counts), period=dict(periods))


@pytest.mark.parametrize("ranks", [*range(2, 21), 23])
def test_classes_up_to_rotation_are_counted_as_burnside_counts(ranks: int) -> None:
    assert ranks * space(ranks).rotations.orderings == sum(2 ** math.gcd(turn, ranks) for turn in range(ranks))


@pytest.mark.parametrize("ranks", range(2, 17))
def test_parity_has_the_least_period_of_all(ranks: int) -> None:
    found = space(ranks)
    assert min(found.period) == period(word(NAMED["parity"].vector(ranks)), ranks)
    assert min(found.period) == (2 if ranks % 2 == 0 else Fraction(2 * ranks, ranks - 1))
    assert max(found.period) == ranks


def test_json_has_text_keys_in_order() -> None:
    found = space(5).to_json()
    assert (
        found
        == json.loads(json.dumps(found))
        == {
            "ranks": 5,
            "orderings": 32,
            "deadlocks": 2,
            "makespan": {"3": 10, "4": 10, "5": 10},
            "period": {"5/2": 20, "5": 10},
            "rotations": {
                "orderings": 8,
                "deadlocks": 2,
                "makespan": {"3": 2, "4": 2, "5": 2},
                "period": {"5/2": 4, "5": 2},
            },
        }
    )
    assert list(found["period"]) == ["5/2", "5"]


@pytest.mark.parametrize("ranks", [-1, 0, 1, MAX_RANKS + 1, 10**30])
def test_a_wrong_size_is_an_error_that_names_it(ranks: int) -> None:
    with pytest.raises(ValueError, match=f"ranks is {ranks}; give 2 to 28"):
        space(ranks)
