"""What the rows of `engine_speed` do, once."""

from __future__ import annotations

import time
from typing import Any


def event_graph(*, ranks: int) -> dict[str, Any]:
    """A ring of one round by parity under rendezvous: its table, its event graph, verdict and makespan."""
    from model.rings.orderings import NAMED
    from model.rings.ring_program import ring_table
    from model.semantics.libraries import semantics
    from model.verdict.by_graph import check_table

    found = check_table(ring_table(ranks=ranks, rounds=1, ordering=NAMED["parity"]), semantics("rendezvous"))
    return {"verdict": found.verdict, "makespan": found.makespan, "events": found.states, "arcs": found.transitions}


def order_space(*, ranks: int) -> dict[str, Any]:
    """All orderings: verdict, makespan, period."""
    from model.rings.order_space import space

    found = space(ranks)
    return {"orderings": found.orderings, "deadlocks": found.deadlocks, "periods": len(found.period)}


def explorer(*, ranks: int, rounds: int) -> dict[str, Any]:
    """The whole state space of a ring under rendezvous, parity, encoding `loop`: the explorer's, then SPIN's.

    seconds, spin_seconds: of the two searches alone. load_s: of the explorer's compiled code, from its cache.
    spin_compile_s: of spin and the C compiler. Both searches run on one core.
    """
    from model.rings.orderings import NAMED
    from model.semantics.libraries import semantics
    from model.states.packed_bfs import search
    from model.validation.spin import FULL, run_spin
    from model.validation.spin_ring import loop, loop_guards

    rules, ordering = semantics("rendezvous"), NAMED["parity"]
    began = time.perf_counter()
    search(loop_guards(ranks=2, rounds=1, ordering=ordering, semantics=rules), max_states=10**6)
    loaded = time.perf_counter()
    given = loop_guards(ranks=ranks, rounds=rounds, ordering=ordering, semantics=rules)
    start = time.perf_counter()
    counts = search(given, max_states=10**9)
    seconds = time.perf_counter() - start
    text = loop(ranks=ranks, rounds=rounds, ordering=ordering, semantics=rules)
    spin = run_spin(text, limit_s=600, options=("-O3", "-march=native", *FULL))
    if counts.states != spin.states:
        raise ValueError(f"the explorer found {counts.states} states, SPIN {spin.states}")
    return {
        "seconds": seconds,
        "load_s": loaded - began,
        "states": counts.states,
        "states_per_s": counts.states / seconds,
        "spin_seconds": spin.seconds,
        "spin_compile_s": spin.compile_seconds,
        "spin_states_per_s": spin.states / spin.seconds,
        "times_spin": spin.seconds / seconds,
    }


def simulator(*, ranks: int, rounds: int) -> dict[str, Any]:
    """A ring by parity under rendezvous, every transfer one unit: our simulator's events, then simpy on the same ring.

    seconds, simpy_seconds: of the simulations alone, the ring being made before, each on one core; simpy_bare_seconds:
    of a simpy model tuned by hand.
    """
    from model.events.simulator import simulate
    from model.rings.orderings import NAMED
    from model.rings.ring_program import ring_table
    from model.semantics.libraries import semantics
    from model.semantics.table import columns_of_table

    rules, ordering = semantics("rendezvous"), NAMED["parity"]
    simulate(columns_of_table(ring_table(ranks=2, rounds=1, ordering=ordering), rules))  # loads the compiled code
    columns = columns_of_table(ring_table(ranks=ranks, rounds=rounds, ordering=ordering), rules)
    start = time.perf_counter()
    found = simulate(columns)
    seconds = time.perf_counter() - start
    peers = {}
    for name, peer in (("simpy", _simpy_stores), ("simpy_bare", _simpy_bare)):
        start = time.perf_counter()
        makespan = peer(ranks, rounds, ordering.vector(ranks))
        peers[name] = time.perf_counter() - start
        if found.makespan != makespan:
            raise ValueError(f"the simulator says {found.makespan}, {name} {makespan}")
    return {
        "seconds": seconds,
        "events": found.events,
        "events_per_s": found.events / seconds,
        "makespan": found.makespan,
        **{f"{name}_seconds": took for name, took in peers.items()},
        **{f"times_{name}": took / seconds for name, took in peers.items()},
    }


def _simpy_stores(ranks: int, rounds: int, vector: str) -> float:
    """The makespan of the ring in simpy as its documentation passes messages: a store an edge, and one back."""
    import simpy

    env = simpy.Environment()
    there = [simpy.Store(env, capacity=1) for _ in range(ranks)]
    back = [simpy.Store(env, capacity=1) for _ in range(ranks)]

    def send(edge: int) -> Any:
        yield there[edge].put(edge)
        yield back[edge].get()

    def recv(edge: int) -> Any:
        yield there[edge].get()
        yield env.timeout(1)
        yield back[edge].put(edge)

    def rank(own: int) -> Any:
        for _ in range(rounds):
            for half in (send, recv) if vector[own] == "S" else (recv, send):
                yield from half(own if half is send else (own - 1) % ranks)

    for number in range(ranks):
        env.process(rank(number))
    env.run()
    return float(env.now)


def _simpy_bare(ranks: int, rounds: int, vector: str) -> float:
    """The same with the fewest events that simpy can do it with: one a transfer, which the second rank starts."""
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
