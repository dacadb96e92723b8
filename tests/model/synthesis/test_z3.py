"""The same statements from a second kind of prover: z3, on quantifier-free formulas, for each P up to a bound.

A state of the ring is how often each rank has sent and received. Any state in which no wait cycle can be
broken is searched for, over all orderings, numbers of rounds and capacities at once: those stay symbolic. The
search also meets states that no run reaches, so "none found" is stronger than the statement.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

RANKS = range(2, 13)


@pytest.fixture
def z3(require_module: Callable[[str, str], None]) -> Any:
    require_module("z3", "pip install z3-solver")
    return pytest.importorskip("z3")


def ring(z3: Any, ranks: int) -> SimpleNamespace:
    """Orderings, rounds and positions as unknowns, with what is true of each rank by itself."""
    sends_first = [z3.Bool(f"first{r}") for r in range(ranks)]
    sent, received = ([z3.Int(f"{name}{r}") for r in range(ranks)] for name in ("sent", "received"))
    rounds = z3.Int("rounds")
    own = [rounds >= 1]
    for r in range(ranks):
        ahead = z3.If(sends_first[r], sent[r] - received[r], received[r] - sent[r])
        own += [ahead >= 0, ahead <= 1, sent[r] >= 0, received[r] >= 0, sent[r] <= rounds, received[r] <= rounds]
    at_send = [
        z3.And(s < rounds, z3.If(f, s == v, v == s + 1)) for f, s, v in zip(sends_first, sent, received, strict=True)
    ]
    at_recv = [
        z3.And(v < rounds, z3.If(f, s == v + 1, s == v)) for f, s, v in zip(sends_first, sent, received, strict=True)
    ]
    return SimpleNamespace(
        own=z3.And(own),
        uniform=z3.Or(z3.And(sends_first), z3.Not(z3.Or(sends_first))),
        receive_first=z3.Not(z3.Or(sends_first)),
        sent=sent,
        received=received,
        at_send=at_send,
        at_recv=at_recv,
        unfinished=z3.Or([s < rounds for s in sent] + [v < rounds for v in received]),
        edges=[(r, (r + 1) % ranks) for r in range(ranks)],
    )


def possible(z3: Any, *formulas: Any) -> bool:
    solver = z3.Solver()
    solver.add(*formulas)
    answer = solver.check()
    assert answer != z3.unknown
    return bool(answer == z3.sat)


@pytest.mark.parametrize("ranks", RANKS)
def test_rendezvous_sticks_only_in_uniform_orderings(z3: Any, ranks: int) -> None:
    """Statement 3 for this P, every ordering and every number of rounds."""
    it = ring(z3, ranks)
    matched = z3.And([it.sent[r] == it.received[q] for r, q in it.edges])
    stuck = z3.And([z3.Not(z3.And(it.at_send[r], it.at_recv[q])) for r, q in it.edges])
    assert not possible(z3, it.own, matched, stuck, it.unfinished, z3.Not(it.uniform))
    assert possible(z3, it.own, matched, stuck, it.unfinished, it.receive_first)
    assert possible(z3, it.own, matched, stuck, it.unfinished, it.uniform, z3.Not(it.receive_first))


@pytest.mark.parametrize("ranks", RANKS)
def test_with_room_only_receive_first_sticks(z3: Any, ranks: int) -> None:
    """Statements 2 and 7: the capacity, 1 or more, is an unknown as well."""
    it = ring(z3, ranks)
    capacity = z3.Int("capacity")
    stored = [it.sent[r] - it.received[q] for r, q in it.edges]
    fits = z3.And([z3.And(waiting >= 0, waiting <= capacity) for waiting in stored])
    stuck = z3.And(
        [z3.Not(z3.And(it.at_send[r], waiting < capacity)) for (r, _), waiting in zip(it.edges, stored, strict=True)]
        + [z3.Not(z3.And(it.at_recv[q], waiting > 0)) for (_, q), waiting in zip(it.edges, stored, strict=True)]
    )
    shared = (capacity >= 1, it.own, fits, stuck, it.unfinished)
    assert not possible(z3, *shared, z3.Not(it.receive_first))
    assert possible(z3, *shared, it.receive_first)
