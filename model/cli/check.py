"""`python -m model check`: does a program finish, and if not, who waits for whom?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from model.cli.arguments import OptionalPath, ProgramArguments
from model.entry.output import check_picture, progress_bar, show
from model.program.checked import Program
from model.semantics.libraries import NAMED, semantics
from model.semantics.parameters import SemanticsByComm
from model.states.options import MAX_MEMORY, MAX_STATES, Options, Reduce

if TYPE_CHECKING:
    from model.semantics.table import Table
    from model.synthesis.cure import Cure
    from model.verdict.result import Engine, Result
    from model.verdict.size_threshold import SizeThreshold

EngineChoice = Literal["auto", "explorer", "schedule", "graph"]

MAX_CURED = 1000
"""Operations up to which a program that hangs is offered a cure, and sizes are tried: each takes many checks."""

EVERY_LIBRARY = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(ProgramArguments):
    """Decide one program: 0 if it finishes, 1 if it can hang or lose a message, 2 on bad usage.

    A file has one line a rank; the rank before a line may be left out, of all or none. For example

        0: isend(1, request=a); recv(1, tag=7); wait(a)
        1: send(0, tag=7, nbytes=4096); recv(any)  # a comment

    The operations are send, ssend, bsend, recv, isend, issend, ibsend, irecv (each with the peer first), wait (with
    requests), sendrecv, probe, batch (of isend and irecv), barrier and compute. Sends and receives take tag=, comm=
    and, where they send, nbytes=; isend and irecv need request=. A receive may say any for its peer and its tag.
    JSON is read as well: {"programs": [[{"op": "send", "peer": 1}], [{"op": "recv", "peer": 0}]]}.

    --semantics all gives the verdict under every library.
    """

    engine: EngineChoice = "auto"
    """explorer: every state; schedule: the one run that decides a program without wildcards; graph: its event graph,
    which takes a ring of a million ranks; auto: schedule, of a large program graph, where there are wildcards explorer.
    """
    reduce: Reduce = "none"
    """What the explorer leaves out: nothing, steps that do not matter (persistent), or turned states (rotation)."""
    max_states: int = MAX_STATES
    """Give up past so many states."""
    max_memory: int = MAX_MEMORY
    """Bytes that the explorer's frontiers may take."""
    checkpoint: OptionalPath = None
    """Where an interrupt (Ctrl-C) leaves the explorer's state."""
    resume: OptionalPath = None
    """Go on from such a file; another interrupt writes it again, unless --checkpoint names another."""
    json: bool = False
    """Print one JSON object."""
    draw: OptionalPath = None
    """Draw who waits for whom to this file (.png, .svg, .pdf)."""

    def run(self) -> int:
        for name in ("max_states", "max_memory"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give 1 or more")
        engine = self._engine()
        if self.draw is not None:
            check_picture(self.draw)  # before a search that may take minutes, not after it
        if self.semantics == EVERY_LIBRARY:
            return self._every_library(engine)
        program = self.table() if engine in (None, "graph") and self.fits_table() else self.lists()
        libraries = self.libraries(program)
        return self._answer(self._check(program, libraries, engine), program, libraries)

    def _options(self) -> Options:
        return Options(
            reduce=self.reduce,
            max_memory=self.max_memory,
            checkpoint=self.checkpoint or self.resume,
            resume=self.resume,
        )

    def _engine(self) -> Engine | None:
        """The engine that is asked for, be it by an option that only the explorer has; None leaves the choice."""
        if self._options() == Options():
            return None if self.engine == "auto" else self.engine
        if self.engine not in ("auto", "explorer"):
            raise ValueError(f"{self._options()} is for --engine explorer, and --engine is {self.engine}; drop one")
        return "explorer"

    def _check(self, program: Program | Table, libraries: SemanticsByComm, engine: Engine | None) -> Result:
        from model.verdict.decide import check

        with progress_bar("states", least=1000) as progress:
            return check(
                program,
                libraries,
                engine=engine,
                max_states=self.max_states,
                progress=progress,
                explore=self._options(),
            )

    def _every_library(self, engine: Engine | None) -> int:
        if self.draw is not None:
            raise ValueError("--draw shows one verdict; give one library by --semantics")
        from model.verdict.views.tables import library_table

        program = self.lists()
        results = {name: self._check(program, {"*": semantics(name)}, engine) for name in NAMED}
        data = {"libraries": {name: result.to_json() for name, result in results.items()}}
        show(self.json, data, lambda: [library_table(results)])
        return 0 if all(result.verdict == "ok" for result in results.values()) else 1

    def _answer(self, result: Result, program: Program | Table, libraries: SemanticsByComm) -> int:
        """Prints a verdict with what else is known of a small program; the exit status."""
        ranks = len(program) if isinstance(program, tuple) else program.ranks
        if self.draw is not None:
            from model.verdict.views.draw import wait_for_graph

            title = f"{result.verdict}: {self.program}, {ranks} ranks, under {self.semantics}"
            wait_for_graph(result, ranks=ranks, title=title).savefig(self.draw)
        cure = size = None
        if isinstance(program, tuple) and sum(map(len, program)) <= MAX_CURED:
            if result.hangs:
                from model.synthesis.cure import propose

                cure = propose(program, libraries, result)
            else:
                from model.verdict.size_threshold import find_size_threshold

                size = find_size_threshold(program, libraries, result)
        data: dict[str, Any] = {
            **result.to_json(),
            "cure": None if cure is None else cure.to_json(),
            "size": None if size is None else size.to_json(),
        }
        show(self.json, data, lambda: _lines(result, cure, size))
        return 0 if result.verdict == "ok" else 1


def _lines(result: Result, cure: Cure | None, size: SizeThreshold | None) -> Iterator[str]:
    from model.verdict.views.tables import verdict_lines

    yield from verdict_lines(result, cure)
    if size is not None:
        yield str(size)
