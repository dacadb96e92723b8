"""The command line of the experiments: `python -m experiments reproduce`."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import tyro

from experiments.catalogue import BENCHES, CATALOGUE, Experiment, record
from experiments.lab.harness import ProbesFailed
from experiments.records.paths import COMMITTED, LOCAL, SMOKE, ResultPaths, shown
from experiments.records.provenance import stamp
from experiments.records.results import ResultStore


class Command(Protocol):
    """What the command line becomes."""

    def run(self) -> int:
        """Do it; the exit status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """Where results go: to experiments/results/local, which git ignores, or as said here."""

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
        began, paths, origin = time.monotonic(), self.paths(), stamp(command=sys.argv[1:])
        written = []
        for number, (name, experiment) in enumerate(CATALOGUE.items(), start=1):
            say(f"[{number}/{len(CATALOGUE)}] {name}")
            written.append(record(name, experiment.smoke if self.smoke else experiment.config(), paths, origin))
        return _finish(ResultStore(paths), written, seconds=time.monotonic() - began)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOne:
    """One experiment alone."""

    experiment: Experiment
    config: Any
    output: OutputOptions

    def run(self) -> int:
        config = self.config
        if self.output.smoke:
            if config != self.experiment.config():
                raise ValueError("--smoke has sizes of its own; give it without other arguments of the experiment")
            config = self.experiment.smoke
        path = record(self.experiment.name, config, self.output.paths(), stamp(command=sys.argv[1:]))
        print(f"written: {shown(path)}")
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Draw the figures from results."""

    results: Path = COMMITTED
    """The folder of the results."""

    def run(self) -> int:
        from experiments.publish.figures import draw_all  # matplotlib: only what draws needs it

        drawn = draw_all(ResultStore(ResultPaths(root=self.results)))
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

        store = ResultStore(ResultPaths(root=self.results))
        for claim in claims.CLAIMS:
            status = claims.claim_status(claim, store)
            print(
                f"{claim.id}  {status.outcome}: {claim.text}\n      found: {claim.finding}\n      by: {claim.command}"
            )
        return _complain(claims.contradicted(store))


@dataclass(frozen=True, slots=True, kw_only=True)
class Readme:
    """Bring the generated parts of the README up to date from the committed results."""

    check: bool = False
    """Change nothing; exit status 1 where the README is stale."""

    def run(self) -> int:
        from experiments.publish import readme

        store = ResultStore(ResultPaths(root=COMMITTED))
        if not self.check:
            print(f"written: {shown(readme.write(store))}")
        elif readme.stale(store):
            return _complain(["README.md is stale; run `python -m experiments readme`"])
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """Generate what the paper takes from the committed results, and build it."""

    generate_only: bool = False
    """Do not run LaTeX."""

    def run(self) -> int:
        from experiments.publish import paper

        written = paper.generate(ResultStore(ResultPaths(root=COMMITTED)))
        if not self.generate_only:
            written.append(paper.build())
        print(*(f"written: {shown(path)}" for path in written), sep="\n")
        return 0


def say(line: str) -> None:
    """Tells people how it goes; results are what goes to standard output."""
    print(line, file=sys.stderr, flush=True)


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


def _command_of(experiment: Experiment) -> Callable[..., RunOne]:
    """The command of one experiment: its own arguments beside those of `OutputOptions`."""

    def command(config: Any, output: Any) -> RunOne:
        return RunOne(experiment=experiment, config=config, output=output)

    command.__doc__ = experiment.config.__doc__
    command.__annotations__ = {"config": experiment.config, "output": OutputOptions, "return": RunOne}
    command.__defaults__ = (experiment.config(), OutputOptions())
    return command


COMMANDS: dict[str, Callable[..., Command]] = {
    "reproduce": Reproduce,
    **{name: _command_of(experiment) for name, experiment in {**CATALOGUE, **BENCHES}.items()},
    "figures": Figures,
    "claims": Claims,
    "readme": Readme,
    "paper": Paper,
}


def main() -> int:
    """Runs one command and gives its exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started is ended
    try:
        command: Command = tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="python -m experiments",
            description=__doc__,
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
        )
        return command.run()
    except (ValueError, OSError) as error:
        say(f"error: {error}")
        return 2
    except ProbesFailed as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())
