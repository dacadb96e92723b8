"""The command line of the experiments: `python -m experiments reproduce`.

The first word chooses the command, and only that one's options are read: reading those of all costs seconds.
"""

from __future__ import annotations

import runpy
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # read by its path: the import of a package would run what hides it
    _shadowing = runpy.run_path(str(Path(__file__).parents[1] / "model" / "entry" / "shadowing.py"))
    _shadowing["exit_if_hidden"]("model", "reference")

from experiments.catalogue import CATALOGUE, Experiment
from experiments.lab.errors import ProbesFailed
from model.entry.command import Command, Runnable, chosen, overview
from model.entry.output import ends_quietly

ABOUT = "The model's predictions against measurements."

COMMANDS: Mapping[str, Command] = {
    "reproduce": Command(
        module="experiments.commands",
        name="Reproduce",
        about="Run every experiment, draw the figures, print the model against the measurements.",
    ),
    **{name: Command(module=one.module, name=one.config, about=one.about) for name, one in CATALOGUE.items()},
    "figures": Command(module="experiments.commands", name="Figures", about="Draw the figures from results."),
    "claims": Command(
        module="experiments.commands",
        name="Claims",
        about="The claims, and what the results say of each. Exit status 1 where results contradict one.",
    ),
    "readme": Command(
        module="experiments.commands",
        name="Readme",
        about="Bring the generated parts of the READMEs up to date from the committed results.",
    ),
    "paper": Command(
        module="experiments.commands",
        name="Paper",
        about="Generate what the paper takes from the committed results, and build it.",
    ),
}
"""Each command: a class of `experiments.commands`, or the arguments of an experiment."""


def main(words: Sequence[str] | None = None, *, prog: str = "python -m experiments") -> int:
    """Runs one command and gives its exit status. prog: how it was called, as the help shows it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started is ended
    return ends_quietly(lambda: _run(sys.argv[1:] if words is None else words, prog))


def _run(words: Sequence[str], prog: str) -> int:
    try:
        if words and words[0] in ("-h", "--help"):
            print(overview(COMMANDS, prog, ABOUT))
            return 0
        return parsed(words, prog).run()
    except BrokenPipeError:
        raise
    except ProbesFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def parsed(words: Sequence[str], prog: str) -> Runnable:
    """The command that the words ask for. Raises ValueError on an unknown one, and SystemExit on wrong options."""
    options = chosen(COMMANDS, words, prog).load()
    import tyro

    command: Runnable = tyro.cli(
        _command_of(CATALOGUE[words[0]], options) if words[0] in CATALOGUE else options,
        prog=f"{prog} {words[0]}",
        args=words[1:],
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )
    return command


def _command_of(experiment: Experiment, config: Callable[[], Any]) -> Callable[..., Runnable]:
    """The command of one experiment: its own arguments beside those of `OutputOptions`."""
    from experiments.commands import OutputOptions, RunOne

    def command(config: Any, output: Any) -> RunOne:
        return RunOne(experiment=experiment, config=config, output=output)

    command.__doc__ = config.__doc__
    command.__annotations__ = {"config": config, "output": OutputOptions, "return": RunOne}
    command.__defaults__ = (config(), OutputOptions())
    return command


if __name__ == "__main__":
    sys.exit(main())
