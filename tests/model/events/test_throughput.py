"""The period of repeated programs: statement 5 for all orderings, and against long runs."""

import itertools
import json
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.events.earliest_run import run
from model.events.throughput import period
from model.rings.orderings import ordering
from model.rings.ring_program import ring, ring_table
from model.semantics.columns import columns_of
from model.semantics.libraries import semantics
from model.semantics.lowering import lower
from model.semantics.table import columns_of_table
from tests.model.conftest import Inside


@pytest.mark.parametrize("ranks", range(2, 9))
def test_statement_5_the_closed_form_holds_for_every_ordering(ranks: int) -> None:
    for letters in map("".join, itertools.product("SR", repeat=ranks)):
        columns = ring_table(ranks=ranks, rounds=1, ordering=ordering(letters, ranks))
        found = period(columns_of_table(columns, semantics("rendezvous")))
        fewer = min(letters.count("S"), letters.count("R"))
        assert found.ticks == (Fraction(ranks, fewer) if fewer else None), letters


@settings(max_examples=60)
@given(st.text("SR", min_size=2, max_size=6), st.sampled_from(["rendezvous", "bounded(1)", "bounded(2)", "eager"]))
def test_a_long_run_takes_the_period_for_each_round(letters: str, name: str) -> None:
    policy, rules = ordering(letters, len(letters)), semantics(name)
    columns = [ring_table(ranks=len(letters), rounds=rounds, ordering=policy) for rounds in (1, 60, 120)]
    once, some, more = (columns_of_table(one, rules) for one in columns)
    found = period(once)
    if found.ticks is None:
        assert run(once).hangs
        return
    spans = [run(one).makespan for one in (some, more)]
    assert spans[0] is not None and spans[1] is not None
    # a bounded buffer delays the first rounds by a constant, and a period may repeat only after several rounds
    assert abs(spans[1] - spans[0] - 60 * found.ticks) <= 2 * len(letters)
    assert found.circuit == () or found.ticks == Fraction(found.weight, found.tokens)


def test_the_critical_circuit_closes() -> None:
    found = period(columns_of(lower(ring(ranks=5, rounds=1, ordering=ordering("SSRSR", 5)), semantics("rendezvous"))))
    ranks = [hop.rank for hop in found.circuit]
    assert [hop.waits_for for hop in found.circuit] == [*ranks[1:], ranks[0]]


def test_the_command_line(inside: Inside) -> None:
    status, out, _ = inside("period", "ring", "--ranks", "7", "--json")
    assert (status, json.loads(out)["period"]) == (0, "7/3")
    assert inside("period", "ring", "--ranks", "7")[1].startswith("7/3 transfers a round")
    assert inside("period", "ring", "--ordering", "send-first", "--json")[0] == 1
    seconds = json.loads(inside("period", "ring", "--latency", "1e-6", "--json")[1])["seconds"]
    assert seconds == pytest.approx(2e-6)
