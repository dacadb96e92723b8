"""What the rows of `bench_model` do, once."""

from __future__ import annotations

import time
from typing import Any


def event_graph(*, ranks: int) -> dict[str, Any]:
    """A ring of one round by parity under rendezvous: its table, its event graph, verdict and makespan."""
    from model.libraries import semantics
    from model.orderings import NAMED
    from model.scale import check_table
    from model.table import ring_table

    found = check_table(ring_table(ranks=ranks, rounds=1, ordering=NAMED["parity"]), semantics("rendezvous"))
    return {"verdict": found.verdict, "makespan": found.makespan, "events": found.states, "arcs": found.transitions}


def order_space(*, ranks: int) -> dict[str, Any]:
    """All orderings: verdict, makespan, period."""
    from model.orderspace import space

    found = space(ranks)
    return {"orderings": found.orderings, "deadlocks": found.deadlocks, "periods": len(found.period)}


def explorer(*, ranks: int, rounds: int) -> dict[str, Any]:
    """The whole state space of a ring under rendezvous, parity, encoding `loop`: the explorer's, then SPIN's.

    seconds, spin_seconds: of the two searches alone. load_s: of the explorer's compiled code, from its cache.
    spin_compile_s: of spin and the C compiler. Both searches run on one core.
    """
    from model.libraries import semantics
    from model.orderings import NAMED
    from model.promela import loop
    from model.search import search
    from model.spin import FULL, loop_gates, spun

    rules, ordering = semantics("rendezvous"), NAMED["parity"]
    began = time.perf_counter()
    search(loop_gates(ranks=2, rounds=1, ordering=ordering, semantics=rules), max_states=10**6)
    loaded = time.perf_counter()
    given = loop_gates(ranks=ranks, rounds=rounds, ordering=ordering, semantics=rules)
    start = time.perf_counter()
    counts = search(given, max_states=10**9)
    seconds = time.perf_counter() - start
    text = loop(ranks=ranks, rounds=rounds, ordering=ordering, semantics=rules)
    judge = spun(text, limit_s=600, options=("-O3", "-march=native", *FULL))
    if counts.states != judge.states:
        raise ValueError(f"the explorer found {counts.states} states, SPIN {judge.states}")
    return {
        "seconds": seconds,
        "load_s": loaded - began,
        "states": counts.states,
        "states_per_s": counts.states / seconds,
        "spin_seconds": judge.seconds,
        "spin_compile_s": judge.compile_seconds,
        "spin_states_per_s": judge.states / judge.seconds,
        "times_spin": judge.seconds / seconds,
    }
