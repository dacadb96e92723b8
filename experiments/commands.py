"""What `python -m experiments COMMAND` does, a class a command; its fields are the command's options.

What a command needs is imported when it runs: the help of one needs none of it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.catalogue import REPRODUCED, Experiment
from experiments.records.paths import COMMITTED, LOCAL, SMOKE, ResultPaths, shown

if TYPE_CHECKING:
    from experiments.records.provenance import Stamp
    from experiments.records.results import ResultStore


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """Where results go: to experiments/results/local, or as said here."""

    smoke: bool = False
    """The smallest sizes, for a first look; results go to .smoke."""
    record: bool = False
    """Write the results that are committed."""
    out: Path | None = None
    """Write to this folder."""

    def paths(self) -> ResultPaths:
        if self.record and (self.smoke or self.out is not None):
            raise ValueError("--record writes the committed results; give it without --smoke and without --out")
        return ResultPaths(root=self.out or (COMMITTED if self.record else SMOKE if self.smoke else LOCAL))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduce(OutputOptions):
    """Run every experiment, draw the figures, print the model against the measurements.

    Exit status: 0 where every prediction agrees with its measurement, 1 where one does not, 2 on bad usage.
    """

    def run(self) -> int:
        from experiments.records.provenance import stamp

        began, paths, origin = time.monotonic(), self.paths(), stamp(command=_typed())
        written = []
        for number, (name, experiment) in enumerate(REPRODUCED.items(), start=1):
            say(f"[{number}/{len(REPRODUCED)}] {name}")
            written.append(record(experiment, None, paths, origin, smoke=self.smoke))
        return _finish(_store(paths.root), written, seconds=time.monotonic() - began)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOne:
    """One experiment alone. config: of its own class."""

    experiment: Experiment
    config: Any
    output: OutputOptions

    def run(self) -> int:
        from experiments.records.provenance import stamp

        if self.output.smoke and self.config != type(self.config)():
            raise ValueError("--smoke has sizes of its own; give it without other arguments of the experiment")
        origin, smoke = stamp(command=_typed()), self.output.smoke
        path = record(self.experiment, self.config, self.output.paths(), origin, smoke=smoke)
        print(f"written: {shown(path)}")
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Draw the figures from results."""

    results: Path = COMMITTED
    """The folder of the results."""

    def run(self) -> int:
        from experiments.publish.figures import draw_all

        drawn = draw_all(_store(self.results))
        if not drawn:
            raise ValueError(f"there are no results in {shown(self.results)}; run `python -m experiments reproduce`")
        print(*(f"written: {shown(path)}" for path in drawn), sep="\n")
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """The claims, and what the results say of each. Exit status 1 where results contradict one."""

    results: Path = COMMITTED
    """The folder of the results."""

    def run(self) -> int:
        from experiments.publish import claims

        if not self.results.is_dir():
            raise ValueError(
                f"there is no folder {shown(self.results)}; results are part of the repository's checkout: run this "
                "there, or name a folder with --results"
            )
        store = _store(self.results)
        for claim in claims.CLAIMS:
            status = claims.claim_status(claim, store)
            print(f"{claim.id}  {status.outcome}: {claim.text}")
            print(f"      found: {claim.finding}\n      by: {claim.command}")
        return _complain(claims.contradicted(store))


@dataclass(frozen=True, slots=True, kw_only=True)
class Readme:
    """Bring the generated parts of the READMEs up to date from the committed results."""

    check: bool = False
    """Change nothing; exit status 1 where one is stale."""

    def run(self) -> int:
        from experiments.publish import readme

        store = _store(COMMITTED)
        if self.check:
            stale = [shown(path) for path in readme.FILES if readme.stale(store, path=path)]
            return _complain([f"{path} is stale; run `python -m experiments readme`" for path in stale])
        print(*(f"written: {shown(readme.write(store, path=path))}" for path in readme.FILES), sep="\n")
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """Generate what the paper takes from the committed results, and build it."""

    generate_only: bool = False
    """Do not run LaTeX."""

    def run(self) -> int:
        from experiments.publish import paper

        written = paper.generate(_store(COMMITTED))
        if not self.generate_only:
            written.append(paper.build())
        print(*(f"written: {shown(path)}" for path in written), sep="\n")
        return 0


def record(
    experiment: Experiment,
    config: Any,
    paths: ResultPaths,
    stamp: Stamp,
    *,
    smoke: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Path:
    """Run one experiment and write its result, with its provenance and how long it took.

    config: its arguments; None for the full size. smoke: its smallest size, whatever `config` is.
    """
    from experiments.records import results

    work = experiment.load()
    config = work.smoke if smoke else work.config() if config is None else config
    began = clock()
    body = work.run(config)
    arguments = asdict(config)
    provenance = stamp.to_json(arguments=arguments, seed=arguments.get("seed"), wall_s=clock() - began)
    path = paths.result(experiment.name, experiment.label)
    return results.write(path, experiment=experiment.name, provenance=provenance, body=body)


def say(line: str) -> None:
    """Tells people how it goes; results are what goes to standard output."""
    print(line, file=sys.stderr, flush=True)


def _typed() -> Sequence[str]:
    """What was typed after `python -m experiments`, or after `ringproof experiments`."""
    words = sys.argv[1:]
    return words[1:] if words[:1] == ["experiments"] else words


def _store(root: Path) -> ResultStore:
    from experiments.records.results import ResultStore

    return ResultStore(ResultPaths(root=root))


def _finish(store: ResultStore, written: Sequence[Path], *, seconds: float) -> int:
    """Draw, and end with the table, what disagrees, and what was written."""
    from experiments.publish import claims, report
    from experiments.publish.figures import draw_all

    files = [*written, *draw_all(store)]
    for part in (
        "The model against the measurements",
        report.comparison(store).text(),
        report.limit_line(store),
        "Serving, by the number of pipeline stages",
        report.speeds(store).text(),
        "Results and figures",
        "\n".join(f"  {shown(path)}" for path in files),
        f"{seconds / 60:.1f} minutes",
    ):
        print(part, end="\n\n")
    return _complain([*report.disagreements(store), *claims.contradicted(store)])


def _complain(lines: Sequence[str]) -> int:
    for line in lines:
        say(line)
    return 1 if lines else 0
