"""The command line of the experiments: `python -m experiments reproduce`.

The first word chooses the command, and only that one's options are read: reading those of all costs seconds.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from experiments.catalogue import CATALOGUE, Experiment
from experiments.lab.errors import ProbesFailed

PROG = "python -m experiments"

ABOUT: Mapping[str, str] = {
    "reproduce": "Run every experiment, draw the figures, print the model against the measurements.",
    **{name: experiment.about for name, experiment in CATALOGUE.items()},
    "figures": "Draw the figures from results.",
    "claims": "The claims, and what the results say of each. Exit status 1 where results contradict one.",
    "readme": "Bring the generated parts of the READMEs up to date from the committed results.",
    "paper": "Generate what the paper takes from the committed results, and build it.",
}
"""What each command does. A test holds it equal to what the command says of itself."""


class Command(Protocol):
    """What the command line becomes."""

    def run(self) -> int:
        """Do it; the exit status."""


def main() -> int:
    """Runs one command and gives its exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started is ended
    try:
        words = sys.argv[1:]
        if words and words[0] in ("-h", "--help"):
            print(overview())
            return 0
        return parsed(words).run()
    except ProbesFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def parsed(words: list[str]) -> Command:
    """The command that the words ask for. Raises ValueError on an unknown one, and SystemExit on wrong options."""
    name = words[0] if words else ""
    if name not in ABOUT:
        what = f"unknown command {name!r}" if name else "no command"
        raise ValueError(f"{what}; choose one of {', '.join(ABOUT)}, or see {PROG} --help")
    import tyro

    command: Command = tyro.cli(
        command_of(name),
        prog=f"{PROG} {name}",
        args=words[1:],
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )
    return command


def command_of(name: str) -> Callable[..., Command]:
    """The command, imported: a class or a function whose parameters are the options."""
    if name in CATALOGUE:
        return _command_of(CATALOGUE[name])
    from experiments import commands

    command: Callable[..., Command] = getattr(commands, name.capitalize())
    return command


def _command_of(experiment: Experiment) -> Callable[..., Command]:
    """The command of one experiment: its own arguments beside those of `OutputOptions`."""
    from experiments.commands import OutputOptions, RunOne

    def command(config: Any, output: Any) -> RunOne:
        return RunOne(experiment=experiment, config=config, output=output)

    config = experiment.load().config
    command.__doc__ = config.__doc__
    command.__annotations__ = {"config": config, "output": OutputOptions, "return": RunOne}
    command.__defaults__ = (config(), OutputOptions())
    return command


def overview() -> str:
    """The help that names every command."""
    from textwrap import fill

    wide = max(map(len, ABOUT)) + 4
    lines = [
        fill(about, 100, initial_indent=f"  {name}".ljust(wide), subsequent_indent=" " * wide)
        for name, about in ABOUT.items()
    ]
    head = [f"usage: {PROG} COMMAND [OPTIONS]", "", "The model's predictions against measurements.", ""]
    return "\n".join([*head, *lines, "", f"{PROG} COMMAND --help describes the options of one."])


if __name__ == "__main__":
    sys.exit(main())
