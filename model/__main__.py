"""The command line of the model: `python -m model check ring --ranks 4 --ordering parity`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tqdm import tqdm

from model import orderings, programs, report
from model.libraries import NAMED as SEMANTICS
from model.libraries import semantics
from model.ops import Program
from model.verdict import MAX_STATES, check


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Decide one program: 0 if it finishes, 1 if it can deadlock or lose a message, 2 on bad usage."""

    program: tyro.conf.Positional[str]
    """A named program (ring), or a JSON file with per-rank operation lists."""
    ranks: int = 4
    """Ranks of a named program."""
    rounds: int = 1
    """Rounds of a named program."""
    ordering: str = "parity"
    """Which half each rank does first: a named policy, or a vector such as SRS."""
    style: programs.Style = "send"
    """How the step of a ring is written."""
    nbytes: int = 1
    """Bytes of every message of a named program."""
    semantics: str = "rendezvous"
    """The library's promise: a name of `python -m model names`, or bounded(k)."""
    engine: Literal["explorer", "schedule"] = "explorer"
    """Explore every state, or run the one schedule that decides a program without wildcards."""
    max_states: int = MAX_STATES
    """Give up past so many states."""
    json: bool = False
    """Print one JSON object."""
    draw: Path | None = None
    """Draw who waits for whom to this file (.png, .svg, .pdf)."""

    def run(self) -> int:
        given = self._program()
        rules = semantics(self.semantics)
        if self.draw is not None:
            from model import draw  # matplotlib is slow to import

            draw.check_path(self.draw)  # before a search that may take minutes, not after it
        with tqdm(unit=" states", disable=None, leave=False, delay=2, file=sys.stderr) as bar:
            result = check(
                given,
                rules,
                engine=self.engine,
                max_states=self.max_states,
                progress=lambda seen: _advance(bar, seen),
            )
        if self.draw is not None:
            draw.save(draw.wait_for_graph(result, ranks=len(given)), self.draw)
        _print(self.json, result.to_json(), lambda: report.verdict_lines(result))
        return 0 if result.verdict == "ok" else 1

    def _program(self) -> Program:
        if self.program in programs.NAMED:
            return programs.NAMED[self.program](
                ranks=self.ranks,
                rounds=self.rounds,
                ordering=orderings.ordering(self.ordering, self.ranks),
                style=self.style,
                nbytes=self.nbytes,
            )
        return programs.load(self.program)


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """All 2^P orderings of one ring step under rendezvous: how many deadlock, how long the others take."""

    ranks: int
    """P, 2 to 28."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        from model import orderspace

        with tqdm(total=2 ** min(self.ranks, 64), unit=" orderings", disable=None, leave=False, delay=2) as bar:
            result = orderspace.space(self.ranks, progress=lambda done: _advance(bar, done))
        _print(self.json, result.to_json(), lambda: report.space_lines(result))
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The named programs, orderings and semantics."""

    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        named = {
            "programs": {name: (function.__doc__ or "").split("\n")[0] for name, function in programs.NAMED.items()},
            "orderings": {name: policy.about for name, policy in orderings.NAMED.items()},
            "semantics": {name: rules.source for name, rules in SEMANTICS.items()},
        }
        _print(self.json, named, lambda: report.names_lines(named))
        return 0


def _advance(bar: tqdm[Any], total: int) -> None:
    """Moves a bar to an absolute count; seldom, as it is asked for every state."""
    if total - bar.n >= 1000:
        bar.update(total - bar.n)


def _print(as_json: bool, data: object, lines: Callable[[], Iterable[str]]) -> None:
    if as_json:
        print(json.dumps(data))
    else:
        print("\n".join(lines()))


Command = (
    Annotated[Check, tyro.conf.subcommand("check")]
    | Annotated[Space, tyro.conf.subcommand("space")]
    | Annotated[Names, tyro.conf.subcommand("names")]
)


def main() -> int:
    """Runs one command and gives its exit status."""
    command = tyro.cli(Command, prog="python -m model", description=__doc__)
    try:
        return int(command.run())
    except (ValueError, OSError) as error:
        print("error:", " ".join(str(error).splitlines()), file=sys.stderr)  # a name in a file may hold line ends
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
