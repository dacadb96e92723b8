"""A result in a notebook: verdict, who waits for whom as table and picture, a cure as a diff, the last steps."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from model.display import html
from model.program.checked import Program
from model.verdict.result import Result
from model.verdict.subject import Change
from model.verdict.views.tables import WAITS, headline, hidden_waits, path_rows, remarks, waits_rows

MAX_STEPS = 10
"""Of a path, the last ones, which explain a deadlock."""

MAX_WAITS = 16
"""Stuck ranks of the circuit, and others as many, that the table names."""

MAX_CURED_IN_PAGE = 500
"""Operations of a program up to which a cure is looked for, each candidate being checked."""

MAX_LINES = 12
"""Ranks of a diff; those that do not change are left out first."""


def result_parts(result: Result) -> Iterator[str]:
    """The parts of a page; every text of the program is escaped."""
    about = "" if result.subject is None else f"{result.subject}; "
    yield html.badge(result.verdict, about + headline(result))
    yield from map(html.paragraph, remarks(result))
    if result.circuit:
        yield html.heading("who waits for whom")
        hidden = hidden_waits(result, MAX_WAITS)
        more = html.paragraph(f"and {hidden} more") if hidden else ""
        yield html.beside(html.table(WAITS, waits_rows(result, MAX_WAITS)) + more, _picture(result))
    if result.lost:
        yield html.heading("left over")
        yield from map(html.paragraph, result.lost)
    before, change = _cure(result)
    if change is not None:
        yield html.heading(f"cure: {change.what}")
        yield program_difference(before, change.program)
    steps = path_rows(result, MAX_STEPS)
    if steps:
        hidden = len(result.path) - len(steps)
        yield html.heading(
            f"the last {len(steps)} of {len(result.path)} steps" if hidden else "the steps that lead there"
        )
        yield html.table(("step", "rank: operation"), steps)


def program_difference(before: Program, after: Program) -> str:
    """Two programs as one, a line a rank; of many ranks those that change."""
    pairs = list(enumerate(zip_longest(before, after, fillvalue=())))
    if len(pairs) > MAX_LINES:
        pairs = [pair for pair in pairs if pair[1][0] != pair[1][1]]
    shown = [f"{rank}: {html.difference([*map(str, old)], [*map(str, new)])}" for rank, (old, new) in pairs[:MAX_LINES]]
    left_out = len(before) - len(shown)
    if left_out > 0:
        shown.append(f"and {left_out} more ranks" + (", which stay as they are" if len(pairs) <= MAX_LINES else ""))
    return html.lines(shown)


def _picture(result: Result) -> str:
    from model.verdict.views.draw import wait_for_graph  # matplotlib is slow to import

    return wait_for_graph(result).svg()


def _cure(result: Result) -> tuple[Program, Change | None]:
    """The program of the result, and a change under which it finishes, where one is looked for and found."""
    subject = result.subject
    if subject is None or subject.propose is None or not result.hangs or not isinstance(subject.program, tuple):
        return (), None
    if sum(map(len, subject.program)) > MAX_CURED_IN_PAGE:
        return (), None
    return subject.program, subject.propose(subject.program, subject.semantics, result)
