"""The command line of the model: `python -m model check ring --ranks 4 --ordering parity`."""

from __future__ import annotations

import sys
from typing import Annotated

import tyro

from model.cli.check import Check
from model.cli.conform import Conform
from model.cli.hangs import Hangs
from model.cli.names import Names
from model.cli.period import PeriodOf
from model.cli.promela import Promela
from model.cli.schedules import Schedules
from model.cli.simulate import Simulate
from model.cli.space import Space
from model.cli.spin import Spin
from model.cli.suite import Suite
from model.cli.synth import Synth
from model.cli.timeline import Timeline

Command = (
    Annotated[Check, tyro.conf.subcommand("check")]
    | Annotated[Space, tyro.conf.subcommand("space")]
    | Annotated[Names, tyro.conf.subcommand("names")]
    | Annotated[Simulate, tyro.conf.subcommand("simulate")]
    | Annotated[PeriodOf, tyro.conf.subcommand("period")]
    | Annotated[Synth, tyro.conf.subcommand("synth")]
    | Annotated[Schedules, tyro.conf.subcommand("schedules")]
    | Annotated[Hangs, tyro.conf.subcommand("hangs")]
    | Annotated[Suite, tyro.conf.subcommand("suite")]
    | Annotated[Conform, tyro.conf.subcommand("conform")]
    | Annotated[Timeline, tyro.conf.subcommand("timeline")]
    | Annotated[Promela, tyro.conf.subcommand("promela")]
    | Annotated[Spin, tyro.conf.subcommand("spin")]
)


def main() -> int:
    """Runs one command and gives its exit status."""
    command = tyro.cli(Command, prog="python -m model", description=__doc__)
    try:
        return int(command.run())
    except (ValueError, OSError) as error:
        print("error:", " ".join(str(error).splitlines()), file=sys.stderr)  # a name in a file may hold line ends
        return 2
    except KeyboardInterrupt as stopped:
        print(str(stopped) or "interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
