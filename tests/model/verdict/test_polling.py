"""Statement 12: with sends that poll a deadlock is a livelock, the same states under another name.

The polling model is written out here: a rank at a send that has to wait looks, again and again, which is a step that
changes no message. What has no successors in the blocking model is then a terminal component without progress.
"""

from typing import NamedTuple

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from model.program.checked import Program
from model.rings.orderings import NAMED as ORDERINGS
from model.rings.ring_program import STYLES, ring
from model.semantics.libraries import NAMED
from model.semantics.lowering import lower
from model.semantics.parameters import Semantics
from model.states.bfs import explore
from model.verdict.decide import check
from tests.model.message_machine import MessageMachine, State, Step
from tests.model.small_programs import programs

POLLERS = [rules for rules in NAMED.values() if rules.polling]


class Look(NamedTuple):
    """Thread `thread` looks whether its send may go on."""

    thread: int


class Polled(NamedTuple):
    """A state, and the threads that have looked an odd number of times since they came where they are."""

    state: State
    looked: frozenset[int]


class PollingMachine:
    """The machine where sends that wait poll. progress: the steps that are the plain machine's own."""

    def __init__(self, machine: MessageMachine) -> None:
        self.machine = machine

    def initial(self) -> Polled:
        return Polled(self.machine.initial(), frozenset())

    def enabled(self, polled: Polled) -> list[Step | Look]:
        looks = [Look(thread) for thread in range(len(self.machine.code)) if self.polls(polled.state, thread)]
        return [*self.machine.enabled(polled.state), *looks]

    def step(self, polled: Polled, step: Step | Look) -> Polled:
        if isinstance(step, Look):
            return Polled(polled.state, polled.looked ^ {step.thread})
        state = self.machine.step(polled.state, step)
        moved = {thread for thread, at in enumerate(polled.state.heads) if at != state.heads[thread]}
        # a wait for a send and a receive polls no more once the send is over, though it has not moved
        return Polled(state, frozenset(thread for thread in polled.looked - moved if self.polls(state, thread)))

    def polls(self, state: State, thread: int) -> bool:
        """Whether the thread is at a send, or at the wait of one, whose library polls."""
        head = self.machine.ready(state, thread)
        if head is None or not (head.blocking or head.kind == "await"):
            return False
        waited = self.machine.incomplete(state, head) if head.kind == "await" else head.messages
        ends = [self.machine.messages[message] for message in waited]
        return any(end.sends and end.semantics.polling for end in ends)


def terminal(system: PollingMachine) -> list[set[Polled]]:
    """The strongly connected components that no run leaves."""
    graph: nx.DiGraph[Polled] = nx.DiGraph()
    graph.add_node(system.initial())
    left = [system.initial()]
    while left:
        polled = left.pop()
        for step in system.enabled(polled):
            reached = system.step(polled, step)
            if reached not in graph:
                left.append(reached)
            graph.add_edge(polled, reached)
    parts = nx.condensation(graph)
    return [set(parts.nodes[part]["members"]) for part in parts if parts.out_degree(part) == 0]


def agree(made: Program, rules: Semantics) -> str:
    """Holds the two models against each other; the verdict."""
    machine = MessageMachine(lower(made, rules))
    polling = PollingMachine(machine)
    ends = terminal(polling)
    assert all(len({polled.state for polled in part}) == 1 for part in ends), "a terminal component makes progress"
    endings = explore(machine, max_states=100_000).endings
    assert sorted(polled.state for part in ends for polled in list(part)[:1]) == sorted(end.state for end in endings)
    for part in ends:
        state = next(iter(part)).state
        pollers = [thread for thread in range(len(machine.code)) if polling.polls(state, thread)]
        assert len(part) == 2 ** len(pollers)
    verdict = check(made, rules).verdict
    assert (verdict == "livelock") <= any(len(part) > 1 for part in ends)
    return verdict


@settings(max_examples=80)
@given(programs(most=4), st.sampled_from(POLLERS))
def test_statement_12_of_random_programs(made: Program, rules: Semantics) -> None:
    agree(made, rules)


def test_statement_12_of_rings() -> None:
    seen = set()
    for ordering in ORDERINGS.values():
        for style in STYLES:
            for rules in POLLERS:
                made = ring(ranks=3, rounds=1, ordering=ordering, style=style, nbytes=9000)
                seen.add(agree(made, rules))
    assert seen == {"ok", "deadlock", "livelock"}
