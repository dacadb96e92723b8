"""Rings in Promela as people write them, with a loop, a counter and a choice by the rank's number, and SPIN on them.

This is the encoding `loop`. One state of SPIN is one state of `loop_guards`: as in the encoding `straight`, and the
test of the counter, the choice, the increment and the exit are steps as well; the initial process lets all others
start in one step and ends last.
"""

from __future__ import annotations

from collections.abc import Iterator

from model.program.checked import Program, program
from model.program.ops import Compute, Operation
from model.rings.orderings import Ordering
from model.rings.ring_program import ring
from model.semantics.columns import columns_of
from model.semantics.guards import guards_of
from model.semantics.lowering import lower
from model.semantics.parameters import UNLIMITED, Semantics
from model.states.packed_bfs import search
from model.states.position_guards import GuardsByThread, guards_by_thread
from model.validation.promela import plain
from model.validation.spin import Comparison, comparison, run_spin, spin_processes, verdict_of


def compare_loop(
    *, ranks: int, rounds: int, ordering: Ordering, semantics: Semantics, limit_s: float, max_states: int
) -> Comparison:
    """Both on a ring in the encoding `loop`; raises ValueError as `compare`."""
    guards = loop_guards(ranks=ranks, rounds=rounds, ordering=ordering, semantics=semantics)
    counts = search(guards, max_states=max_states)
    text = loop(ranks=ranks, rounds=rounds, ordering=ordering, semantics=semantics)
    return comparison(verdict_of(guards, counts, lost=False), counts, run_spin(text, limit_s=limit_s))


def loop_guards(*, ranks: int, rounds: int, ordering: Ordering, semantics: Semantics) -> GuardsByThread:
    """The states that SPIN has under the encoding `loop`."""
    program = loop_steps(ranks=ranks, rounds=rounds, ordering=ordering)
    return spin_processes(guards_by_thread(guards_of(columns_of(lower(program, semantics)))), init=True)


def loop(*, ranks: int, rounds: int, ordering: Ordering, semantics: Semantics) -> str:
    """Blocking ring steps in the encoding `loop`."""
    size = capacity(semantics, rounds=rounds)
    first = [str(rank) for rank in range(ranks) if ordering.first(rank, ranks) == "S"]
    choice = " || ".join(f"r == {rank}" for rank in first) or "false"
    return f"""\
/* {plain(semantics.name)}, {plain(ordering.name)}; no merging, no reduction: spin -a -o1 -o2 -o3, cc -DNOREDUCE */
#define P {ranks}
#define K {rounds}
#define SENDS_FIRST(r) ({choice})

chan c[P] = [{size}] of {{ bit }};

proctype Rank(byte r)
{{
  byte k;
  do
  :: k < K ->
     if
     :: SENDS_FIRST(r) -> c[r]!1; c[(r + P - 1) % P]?1
     :: else -> c[(r + P - 1) % P]?1; c[r]!1
     fi;
     k++
  :: else -> break
  od
}}

init {{ atomic {{ {"; ".join(f"run Rank({rank})" for rank in range(ranks))} }} }}
"""


def loop_steps(*, ranks: int, rounds: int, ordering: Ordering) -> Program:
    """The ring of `loop`, with the steps of its loop as local work."""
    before, after = (Compute(label="k < K"), Compute(label="choice")), Compute(label="k++")

    def steps(ops: tuple[Operation, ...]) -> Iterator[Operation]:
        for at in range(0, len(ops), 2):
            yield from (*before, *ops[at : at + 2], after)
        yield Compute(label="else")

    return program(steps(ops) for ops in ring(ranks=ranks, rounds=rounds, ordering=ordering))


def capacity(semantics: Semantics, *, rounds: int) -> int:
    """Slots of a channel of one-byte messages, one a round."""
    if semantics.eager_limit != 0 or semantics.capacity == UNLIMITED or semantics.fifo == UNLIMITED:
        return rounds
    return min(rounds, max(semantics.capacity, semantics.fifo))
