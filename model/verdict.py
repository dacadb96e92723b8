"""The one entry of the model: does this program finish on these libraries, and if not, who waits for whom?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import networkx as nx

from model.explorer import Ending, explore, one_schedule, replay
from model.machine import Blocked, Machine, State, Step
from model.ops import Program, wildcard_free
from model.semantics import Semantics, World

Engine = Literal["explorer", "schedule"]
MAX_STATES = 5_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One step of a trace: the ranks that moved, each with the operation it was in."""

    step: int
    moved: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A verdict with its evidence.

    verdict: `ok`, `deadlock` (some ranks can never finish) or `lost` (all finish, a message is left over).
    states: distinct states seen, by the engine named in `engine`.
    circuit: on a deadlock, the ranks of a shortest wait-for circuit, each waiting for the next and the last
        for the first; if there is none, the chain to a rank that has finished. blocked: every stuck rank.
    trace: a run that ends there. lost: the messages left over.
    """

    verdict: Literal["ok", "deadlock", "lost"]
    states: int
    transitions: int
    engine: Engine
    circuit: tuple[Blocked, ...] = ()
    blocked: tuple[Blocked, ...] = ()
    trace: tuple[Event, ...] = ()
    lost: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types, one key a field."""
        return asdict(self)


def check(
    program: Program,
    semantics: Semantics | World,
    *,
    engine: Engine | None = None,
    max_states: int = MAX_STATES,
    progress: Callable[[int], None] | None = None,
) -> Result:
    """The verdict on a program under the semantics of its communicators.

    Without `engine`, one schedule decides where there is no wildcard receive (statement 1), else the
    explorer. A deadlock counts before a lost message, and either before ok.

    Raises ValueError past `max_states`, or where `schedule` is asked for a program with wildcards.
    """
    decided = wildcard_free(program)
    if engine == "schedule" and not decided:
        raise ValueError("one schedule does not decide a program with wildcard receives; use the explorer")
    engine = engine or ("schedule" if decided else "explorer")
    machine = Machine(program, semantics)
    if engine == "schedule":
        seen = one_schedule(machine)
    else:
        seen = explore(machine, max_states=max_states, progress=progress)
    stuck = next((end for end in seen.endings if not machine.finished(end.state)), None)
    spilt = next((end for end in seen.endings if end.state.sends or end.state.recvs), None)
    ending = stuck or spilt
    if ending is None:
        return Result(verdict="ok", states=seen.states, transitions=seen.transitions, engine=engine)
    blocked = machine.blocked(ending.state)
    return Result(
        verdict="deadlock" if stuck else "lost",
        states=seen.states,
        transitions=seen.transitions,
        engine=engine,
        circuit=circuit(blocked),
        blocked=blocked,
        trace=trace(machine, ending),
        lost=machine.unmatched(ending.state),
    )


def trace(machine: Machine, ending: Ending[State, Step]) -> tuple[Event, ...]:
    """The path to an ending, replayed step by step, in the program's own terms."""
    return tuple(
        Event(step=number, moved=machine.describe(state, step))
        for number, (state, step) in enumerate(replay(machine, ending.path), start=1)
    )


def circuit(blocked: tuple[Blocked, ...]) -> tuple[Blocked, ...]:
    """A shortest circuit of ranks that wait for each other; else a shortest chain to a rank that has finished."""
    stuck = {item.rank: item for item in blocked}
    waits: nx.DiGraph[int] = nx.DiGraph()
    waits.add_nodes_from(stuck)
    waits.add_edges_from((item.rank, peer) for item in blocked for peer in item.waits_for)
    # an arc lies on a circuit iff it stays in its component; a rank may wait for itself
    closed = [arc for part in nx.strongly_connected_components(waits) for arc in waits.subgraph(part).edges]
    if closed:
        ring = min((_shortest_cycle(waits, arc) for arc in closed), key=len)
        start = ring.index(min(ring))
        return tuple(stuck[rank] for rank in ring[start:] + ring[:start])
    for item in blocked:
        ends = [peer for peer in nx.descendants(waits, item.rank) if peer not in stuck]
        if ends:
            chain = min((nx.shortest_path(waits, item.rank, end) for end in ends), key=len)
            return tuple(stuck[rank] for rank in chain[:-1])
    return blocked[:1]  # waits for any other rank, and there is none


def _shortest_cycle(waits: nx.DiGraph[int], edge: tuple[int, int]) -> list[int]:
    """The shortest circuit through one arc."""
    path: list[int] = nx.shortest_path(waits, edge[1], edge[0])
    return path
