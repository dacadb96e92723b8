"""Who waits for whom in a state without steps, and the shortest circuit that explains it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model.program.ops import ANY
from model.semantics.instructions import Instruction
from model.states.machine import Machine, State
from model.verdict.result import Blocked

if TYPE_CHECKING:
    import networkx as nx

Node = tuple[str, int]  # ("thread", t) that is stuck, or ("rank", r) that has finished


@dataclass(frozen=True, slots=True, kw_only=True)
class Blame:
    """blocked: every stuck rank. circuit: those of a shortest circuit, each waiting for the next and the last for
    the first; if there is none, the chain to a rank that has finished. polls: whether one of them polls in a send.
    """

    blocked: tuple[Blocked, ...]
    circuit: tuple[Blocked, ...]
    polls: bool


def blame(machine: Machine, state: State) -> Blame:
    """The explanation of a state without steps; empty where every rank has finished."""
    return _Blame(machine, state).found()


class _Blame:
    def __init__(self, machine: Machine, state: State) -> None:
        self._machine, self._state = machine, state
        heads = [(thread, machine.head(state, thread)) for thread in range(len(machine.code))]
        self._stuck: dict[int, Instruction] = {thread: head for thread, head in heads if head is not None}
        self._of_rank: dict[int, list[int]] = defaultdict(list)
        for thread in self._stuck:
            self._of_rank[self._rank(thread)].append(thread)

    def found(self) -> Blame:
        import networkx as nx  # slow to import, and who finishes needs none

        waits: nx.DiGraph[Node] = nx.DiGraph()
        items: dict[int, Blocked] = {}
        for thread, head in self._stuck.items():
            peers = sorted(set(self._peers(thread, head)))
            own = self._own(thread, head)
            waits.add_node(("thread", thread))
            waits.add_edges_from((("thread", thread), ("thread", other)) for other in own)
            waits.add_edges_from((("thread", thread), node) for peer in peers for node in self._nodes(thread, peer))
            if peers or not own:
                items[thread] = Blocked(
                    rank=self._rank(thread), op=str(head.op), index=head.index, waits_for=tuple(peers)
                )
        members = [thread for kind, thread in _explanation(waits) if kind == "thread" and thread in items]
        return Blame(
            blocked=tuple(items[thread] for thread in sorted(items, key=lambda t: (self._rank(t), t))),
            circuit=tuple(items[thread] for thread in members),
            polls=any(self._polls(self._stuck[thread]) for thread in members),
        )

    def _rank(self, thread: int) -> int:
        return self._machine.lowered.threads[thread].rank

    def _waited(self, head: Instruction) -> list[int]:
        """The messages that an instruction waits for and that are posted, be it by standing at it."""
        if head.kind == "await":
            return [m for m in self._machine.incomplete(self._state, head) if self._machine.posted(self._state, m)]
        return list(head.messages)

    def _own(self, thread: int, head: Instruction) -> list[int]:
        """Threads of the same rank that have to go on first."""
        if self._machine.ready(self._state, thread) is None:
            assert head.after is not None
            return [head.after.thread]
        if head.kind != "await":
            return []
        unposted = [m for m in self._machine.incomplete(self._state, head) if not self._machine.posted(self._state, m)]
        return sorted({self._machine.lowered.posts[m].thread for m in unposted})

    def _peers(self, thread: int, head: Instruction) -> Iterator[int]:
        """Ranks that have to do something first."""
        if self._machine.ready(self._state, thread) is None:
            return
        yield from head.absent
        for place in head.meets:
            if self._state.heads[place.thread] < place.at:
                yield self._rank(place.thread)
        ends = [self._machine.messages[message] for message in self._waited(head)]
        for end in ends if head.probes is None else [head.probes]:
            if end.peer != ANY:
                yield end.peer
            else:
                yield from (rank for rank in range(self._machine.lowered.ranks) if rank != end.rank)

    def _nodes(self, thread: int, peer: int) -> list[Node]:
        """The stuck threads of a peer that could do what `thread` waits for; all of them if that is not known."""
        stuck = self._of_rank[peer]
        if not stuck:
            return [("rank", peer)]
        if len(stuck) > 1:
            ends = [self._machine.messages[message] for message in self._waited(self._stuck[thread])]
            comms = {(end.comm, not end.sends) for end in ends if end.peer == peer}
            able = [other for other in stuck if comms & self._left(other)]
            stuck = able or stuck
        return [("thread", other) for other in stuck]

    def _left(self, thread: int) -> set[tuple[str, bool]]:
        """Communicator and direction of the messages that a thread has still to post or is blocked in."""
        rest = self._machine.code[thread][self._state.heads[thread] :]
        ends = [self._machine.messages[m] for item in rest if item.kind in ("send", "recv") for m in item.messages]
        return {(end.comm, end.sends) for end in ends}

    def _polls(self, head: Instruction) -> bool:
        ends = [self._machine.messages[message] for message in self._waited(head)]
        return any(end.sends and end.semantics.polling for end in ends)


def _explanation(waits: nx.DiGraph[Node]) -> list[Node]:
    """A shortest circuit, from its least node; else a shortest chain to a rank that has finished."""
    import networkx as nx

    circuits = [_shortest_circuit(waits.subgraph(part)) for part in nx.strongly_connected_components(waits)]
    if circuits := [circuit for circuit in circuits if circuit]:
        ring = min(circuits, key=lambda circuit: (len(circuit), min(circuit)))
        start = ring.index(min(ring))
        return ring[start:] + ring[:start]
    for node in waits:
        ends = [other for other in nx.descendants(waits, node) if other[0] == "rank"]
        if node[0] == "thread" and ends:
            return min((list(nx.shortest_path(waits, node, end)) for end in ends), key=len)
    return list(waits)[:1]  # waits for any other rank, and there is none


def _shortest_circuit(part: nx.DiGraph[Node]) -> list[Node]:
    """A shortest circuit of a strongly connected part, or nothing where it has none."""
    import networkx as nx

    arcs = list(part.edges)
    if len(arcs) == len(part):  # a circuit and nothing else
        arcs = arcs[:1]
    paths = (list(nx.shortest_path(part, end, start)) for start, end in arcs)
    return min(paths, key=len, default=[])
