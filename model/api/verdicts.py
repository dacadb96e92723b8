"""Does it finish, on which libraries, why not, and what would cure it?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from model.api.programs import name_of, program_of
from model.display import html
from model.display.shown import Shown
from model.display.text import table
from model.program.json_form import short
from model.states.options import MAX_STATES
from model.verdict.arguments import LibraryLike, ProgramLike, as_lists, as_semantics
from model.verdict.decide import check as decide
from model.verdict.result import Engine, Result
from model.verdict.subject import Subject

if TYPE_CHECKING:
    from model.display.figure import Picture
    from model.program.checked import Program
    from model.synthesis.cure import Cure
    from model.verdict.sensitivity import Variation


def check(
    program: ProgramLike,
    library: LibraryLike = "rendezvous",
    *,
    engine: Engine | Literal["auto"] | None = None,
    max_states: int = MAX_STATES,
    name: str = "",
) -> Result:
    """Whether a program finishes on a library, and if not, who waits for whom.

    program: its text, a file, lists, JSON, a table, or a schedule object of `torch.distributed.pipelining`. library: a
    name, an object, or one for each communicator. name: what the program is called in titles.

    >>> import model
    >>> result = model.check("0: send(1); recv(1)\\n1: send(0); recv(0)", "rendezvous")
    >>> result.verdict, [(item.rank, item.op, item.waits_for) for item in result.circuit]
    ('deadlock', [(0, 'send(1)', (1,)), (1, 'send(0)', (0,))])
    """
    made = program_of(program)
    result = decide(made, library, engine=engine, max_states=max_states)
    subject = Subject(
        program=made, semantics=as_semantics(library, made), name=name or name_of(program), propose=_propose
    )
    return replace(result, subject=subject)


def _propose(program: Program, semantics: Any, result: Any) -> Cure | None:
    from model.synthesis.cure import propose

    return propose(program, semantics, result)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(Shown):
    """The results of one program by the name of the library."""

    results: dict[str, Result]

    def __getitem__(self, library: str) -> Result:
        return self.results[library]

    def __iter__(self) -> Iterator[str]:
        return iter(self.results)

    def _table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        from model.verdict.views.tables import LIBRARIES, library_rows

        return LIBRARIES, library_rows(self.results)

    def _lines(self) -> Iterator[str]:
        yield table(*self._table())

    def _parts(self) -> Iterator[str]:
        yield html.table(*self._table())


def compare(program: ProgramLike, libraries: LibraryLike | Iterable[LibraryLike] = ()) -> Comparison:
    """The verdicts on a program on several libraries; by default on every one that has a name.

    >>> import model
    >>> found = model.compare("0: send(1); recv(1)\\n1: send(0); recv(0)", ["gloo", "mpich", "nccl"])
    >>> {name: found[name].verdict for name in found}
    {'gloo': 'deadlock', 'mpich': 'ok', 'nccl': 'ok'}
    """
    from model.semantics.libraries import NAMED
    from model.semantics.parameters import Semantics

    made = program_of(program)
    if isinstance(libraries, str | Semantics | Mapping):
        libraries = [libraries]
    elif not isinstance(libraries, Iterable):
        raise ValueError(
            f"libraries are expected, and this is {short(libraries)}; give a list such as ['gloo', 'nccl']"
        )
    results = {}
    for library in list(libraries) or list(NAMED):
        result = check(made, library, name=name_of(program))
        assert result.subject is not None
        results[result.subject.library] = result
    return Comparison(results=results)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis(Shown):
    """Why a program hangs or finishes. result: under its library. hangs, finishes: the named libraries.

    deciding: the single changes of its library that turn the answer; none where there are several libraries.
    cure: a change of the program under which it finishes; why_no_order: why no order of the messages is one.
    """

    result: Result
    hangs: tuple[str, ...]
    finishes: tuple[str, ...]
    deciding: tuple[Variation, ...]
    cure: Cure | None
    why_no_order: str

    def _sentences(self) -> Iterator[str]:
        yield f"hangs under: {', '.join(self.hangs) or 'none of the named libraries'}"
        yield f"finishes under: {', '.join(self.finishes) or 'none of the named libraries'}"
        changes = "; ".join(map(str, self.deciding))
        if self.result.hangs:
            yield f"decides: {changes or 'no single parameter: it hangs whatever the library does'}"
        else:
            yield f"would hang with: {changes or 'no single change of the library'}"
        if self.why_no_order:
            yield f"no order of the messages is a cure: {self.why_no_order}"

    def _lines(self) -> Iterator[str]:
        yield from self.result._lines()
        yield ""
        yield from self._sentences()
        if self.cure is not None:
            yield ""
            yield str(self.cure)

    def _parts(self) -> Iterator[str]:
        yield from self.result._parts()
        yield html.heading("on which libraries, and by what")
        yield from map(html.paragraph, self._sentences())

    def _table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        rows = [(name, name in self.hangs) for name in sorted((*self.hangs, *self.finishes))]
        return ("library", "hangs"), rows


def diagnose(program: ProgramLike, library: LibraryLike = "rendezvous") -> Diagnosis:
    """Why a program hangs or does not: which parameter of its library decides, where else it hangs, what would cure it.

    >>> import model
    >>> why = model.diagnose("0: send(1); recv(1)\\n1: send(0); recv(0)", "gloo")
    >>> [str(change) for change in why.deciding]
    ['buffering: none -> unlimited']
    >>> why.cure.what
    'on rank 0, do send(1) after recv(1)'
    """
    from model.semantics.libraries import NAMED
    from model.synthesis.cure import propose
    from model.synthesis.cure import why_no_order as reason
    from model.verdict.sensitivity import deciding

    made = as_lists(program_of(program))
    semantics = as_semantics(library, made)
    result = check(made, semantics, name=name_of(program))
    hangs = {name: decide(made, rules).hangs for name, rules in NAMED.items()}
    alone = len(semantics) == 1
    cure = propose(made, semantics, result) if result.hangs else None
    return Diagnosis(
        result=result,
        hangs=tuple(name for name, hung in hangs.items() if hung),
        finishes=tuple(name for name, hung in hangs.items() if not hung),
        deciding=deciding(made, next(iter(semantics.values()))) if alone else (),
        cure=None if cure is None else replace(cure, before=made),
        why_no_order=reason(made) if result.hangs and cure is None else "",
    )


def cure(program: ProgramLike, library: LibraryLike = "rendezvous") -> Cure | None:
    """A change of the order or the kind of the calls under which a program finishes; None where none was found.

    Raises ValueError where the program finishes as it is.

    >>> import model
    >>> print(model.cure("0: send(1); recv(1)\\n1: send(0); recv(0)", "rendezvous"))
    cure: on rank 0, do send(1) after recv(1)
    0: recv(1); send(1)
    1: send(0); recv(0)
    """
    from model.synthesis.cure import propose

    made = as_lists(program_of(program))
    semantics = as_semantics(library, made)
    result = decide(made, semantics)
    if not result.hangs:
        raise ValueError(f"the verdict is {result.verdict}, so there is no hang to cure; ask model.check for the rest")
    found = propose(made, semantics, result)
    return None if found is None else replace(found, before=made)


def draw(program: Any, library: LibraryLike = "rendezvous", *, title: str = "") -> Picture:
    """The picture of who waits for whom: of a result, or of a program on a library.

    It shows itself in a notebook; `savefig` writes it to a file.

    >>> import model
    >>> picture = model.draw("0: send(1); recv(1)\\n1: send(0); recv(0)", "rendezvous")
    >>> picture.axes[0].get_title()
    'deadlock: 2 ranks under rendezvous'
    """
    from model.verdict.views.draw import wait_for_graph

    result = program if isinstance(program, Result) else check(program, library)
    return wait_for_graph(result, title=title)
