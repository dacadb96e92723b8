"""A deadlock-free order under rendezvous for any communication, and how far it is from the fewest steps.

A pattern alone is colored (`edge_coloring`), a program with computes between is scheduled (`precedence`). Either
way every rank takes its messages in the order of one key that both ends know, so no circuit can close
(theory, statement 9); `check` then says so again of the program that comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from model.display.shown import Shown
from model.program.checked import Program, program
from model.program.json_form import to_json
from model.program.ops import Operation, Recv, Send
from model.program.text_form import program_text
from model.semantics.libraries import semantics
from model.synthesis.edge_coloring import color_edges, exact_coloring, lower_bound
from model.synthesis.patterns import Pattern
from model.synthesis.precedence import Precedence
from model.verdict.decide import check
from model.verdict.result import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Synthesis(Shown):
    """An order of all communication, or the proof that there is none.

    program: per-rank operations, empty where there is no order. result: of `check` under rendezvous.
    steps: makespan of the program, a transfer being 1 and a compute its seconds; bound: no order is faster, for
        the reason `because`. method: how the order was found.
    circuit: where there is no order, tasks that each must come before the next, the last before the first.
    """

    program: Program = ()
    result: Result | None = None
    steps: float = 0
    bound: float = 0
    because: str = ""
    method: str = ""
    circuit: tuple[str, ...] = ()

    @property
    def gap(self) -> float:
        """How many steps the program may be from the optimum; 0 where it is optimal."""
        return self.steps - self.bound

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; `programs` is of the form that `python -m model check FILE` reads."""
        return {
            "found": self.result is not None,
            "verdict": self.result.verdict if self.result else None,
            "steps": self.steps,
            "lower_bound": self.bound,
            "bound_from": self.because,
            "gap": self.gap,
            "method": self.method,
            "circuit": list(self.circuit),
            "programs": [[to_json(op) for op in ops] for ops in self.program],
        }

    def _lines(self) -> Iterator[str]:
        if self.result is None:
            yield f"no order exists: {' before '.join((*self.circuit, *self.circuit[:1]))}"
            return
        least = f"no order takes fewer than {self.bound:g} ({self.because})"
        yield f"{self.steps:g} steps, by {self.method}; {least}"
        yield f"under rendezvous: {self.result.verdict}"
        yield ""
        yield program_text(self.program)

    def _table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        rows = [(rank, index, str(op)) for rank, ops in enumerate(self.program) for index, op in enumerate(ops)]
        return ("rank", "index", "op"), rows


def of_pattern(pattern: Pattern, *, rounds: int = 1) -> Synthesis:
    """An order of `rounds` rounds of a pattern, every transfer one step, a rank in one transfer at a time.

    Candidates: one coloring of all transfers, and a coloring of one round repeated, each compressed by
    letting every transfer start as soon as both ranks are there; the shortest counts. Where it misses the
    lower bound an integer program looks for a shorter one, as far as that is small enough to be decided.
    """
    whole = pattern.repeated(rounds)
    edges = [(transfer.source, transfer.target) for transfer in whole.transfers]
    bound, because = lower_bound(edges)
    once = color_edges(edges[: len(pattern.transfers)])
    period = max(once, default=-1) + 1
    repeated = [color + turn * period for turn in range(rounds) for color in once]
    candidates: list[tuple[str, Sequence[int]]] = [("edge coloring of one round", repeated)]
    if rounds > 1:
        candidates.append(("edge coloring of all rounds", color_edges(edges)))
    compressed = [(_as_soon_as_possible(edges, colors), method) for method, colors in candidates]
    steps, method = min(compressed, key=lambda item: max(item[0], default=-1))
    for colors in range(bound, max(steps, default=-1) + 1):
        exact = exact_coloring(edges, colors)
        if exact is None:
            bound, because = colors + 1, "integer program"
            continue
        if exact != "unknown":
            steps, method = list(exact), "integer program"
        break
    return _synthesis(
        _in_steps(whole, steps), steps=max(steps, default=-1) + 1, bound=bound, because=because, method=method
    )


def _in_steps(pattern: Pattern, steps: Sequence[int]) -> Program:
    """Every rank takes its transfers in the order of their steps."""
    ranks: list[list[Operation]] = [[] for _ in range(pattern.ranks)]
    for number in sorted(range(len(steps)), key=lambda number: (steps[number], number)):
        transfer = pattern.transfers[number]
        ranks[transfer.source].append(Send(peer=transfer.target, tag=transfer.tag, nbytes=transfer.nbytes))
        ranks[transfer.target].append(Recv(peer=transfer.source, tag=transfer.tag))
    return program(ranks)


def _synthesis(ordered: Program, *, steps: float, bound: float, because: str, method: str) -> Synthesis:
    """An order that was found, checked under rendezvous."""
    result = check(ordered, semantics("rendezvous"))
    return Synthesis(program=ordered, result=result, steps=steps, bound=bound, because=because, method=method)


def of_precedence(precedence: Precedence) -> Synthesis:
    """An order of the tasks that respects the arcs, or the circuit of arcs for which there is none.

    List scheduling by three rules: the longest remaining chain first, and so that transfers, or computes, come before
    all else. The shortest counts. Durations of 0 are allowed.
    """
    circuit = precedence.circuit()
    if circuit:
        return Synthesis(circuit=tuple(task.label for task in circuit), method="circuit of arcs")
    bound, because = precedence.lower_bound()
    tails = precedence.tails()
    ranks_of = [len(task.ops) for task in precedence.tasks]
    rules: tuple[tuple[str, Callable[[int], float]], ...] = (
        ("longest remaining chain first", lambda number: tails[number]),
        ("transfers first", lambda number: tails[number] + (bound if ranks_of[number] > 1 else 0)),
        ("computes first", lambda number: tails[number] + (bound if ranks_of[number] == 1 else 0)),
    )
    schedules = []
    for method, rule in rules:
        starts = precedence.starts([rule(number) for number in range(len(tails))])
        ends = (start + task.seconds for start, task in zip(starts, precedence.tasks, strict=True))
        schedules.append((max(ends, default=0), starts, method))
    steps, starts, method = min(schedules, key=lambda item: item[0])
    return _synthesis(
        program(_in_order(precedence, starts)),
        steps=steps,
        bound=bound,
        because=because,
        method=f"list scheduling, {method}",
    )


def _in_order(precedence: Precedence, starts: Sequence[float]) -> list[list[Operation]]:
    """Per-rank operations by start; tasks of no length may share a start, so arcs break the tie."""
    ranks: list[list[Operation]] = [[] for _ in range(precedence.ranks)]
    for number in precedence.order(starts):
        for rank, op in precedence.tasks[number].ops.items():
            ranks[rank].append(op)
    return ranks


def _as_soon_as_possible(edges: Sequence[tuple[int, int]], colors: Sequence[int]) -> list[int]:
    """The step of every transfer when the ranks take theirs in the order of the colors, without idling."""
    free: dict[int, int] = {}
    steps = [0] * len(edges)
    for number in sorted(range(len(edges)), key=lambda number: (colors[number], number)):
        u, v = edges[number]
        steps[number] = max(free.get(u, 0), free.get(v, 0))
        free[u] = free[v] = steps[number] + 1
    return steps
