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


def simulator(*, ranks: int, rounds: int) -> dict[str, Any]:
    """A ring by parity under rendezvous, every transfer one unit: our simulator's events, then simpy on the same ring.

    seconds, simpy_seconds: of the two simulations alone, the ring being made before, each on one core.
    """
    from model.libraries import semantics
    from model.orderings import NAMED
    from model.simulator import simulate
    from model.table import flat_of_table, ring_table

    rules, ordering = semantics("rendezvous"), NAMED["parity"]
    simulate(flat_of_table(ring_table(ranks=2, rounds=1, ordering=ordering), rules))  # loads the compiled code
    columns = flat_of_table(ring_table(ranks=ranks, rounds=rounds, ordering=ordering), rules)
    start = time.perf_counter()
    found = simulate(columns)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    makespan = _simpy_ring(ranks, rounds, ordering.vector(ranks))
    simpy_seconds = time.perf_counter() - start
    if found.makespan != makespan:
        raise ValueError(f"the simulator says {found.makespan}, simpy {makespan}")
    return {
        "seconds": seconds,
        "events": found.events,
        "events_per_s": found.events / seconds,
        "makespan": makespan,
        "simpy_seconds": simpy_seconds,
        "times_simpy": simpy_seconds / seconds,
    }


def _simpy_ring(ranks: int, rounds: int, vector: str) -> float:
    """The makespan of the ring in simpy: a process a rank, and for each transfer one event that both ends wait for."""
    import simpy

    env = simpy.Environment()
    meeting: list[Any] = [None] * ranks  # by edge: the end of the transfer whose first rank is there

    def transfer(edge: int) -> Any:
        first, meeting[edge] = meeting[edge], None
        if first is None:
            meeting[edge] = first = env.event()
            return first
        over = env.timeout(1)
        over.callbacks.append(lambda _: first.succeed())
        return over

    def rank(own: int) -> Any:
        halves = (own, (own - 1) % ranks)
        edges = halves if vector[own] == "S" else halves[::-1]
        for _ in range(rounds):
            for edge in edges:
                yield transfer(edge)

    for number in range(ranks):
        env.process(rank(number))
    env.run()
    return float(env.now)
