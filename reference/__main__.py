"""The command line of the pipeline: `python -m reference generate --pp 3 --prompt "The capital of France is"`."""

from __future__ import annotations

from reference.ranks import interrupts

with interrupts.at_once():
    import os
    import select
    import sys
    from typing import Annotated

    import tyro

    from reference.cli.bench import Bench
    from reference.cli.chat import Chat
    from reference.cli.generate import Generate
    from reference.cli.output import say
    from reference.cli.serve import Serve
    from reference.ranks import processes

Command = (
    Annotated[Generate, tyro.conf.subcommand("generate")]
    | Annotated[Chat, tyro.conf.subcommand("chat")]
    | Annotated[Serve, tyro.conf.subcommand("serve")]
    | Annotated[Bench, tyro.conf.subcommand("bench")]
)


def main() -> int:
    """Runs one command and gives its exit status."""
    processes.open_standard_streams()
    try:
        command = tyro.cli(Command, prog="python -m reference", description=__doc__)
        return int(command.run())
    except (ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError) and _output_is_closed():
            return 1  # who reads the output has enough, as `head` does
        say(f"error: {' '.join(str(error).splitlines())}")
        return 2
    except RuntimeError as error:  # PipelineStalled, RankDied
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return interrupts.STATUS


def _output_is_closed() -> bool:
    """Whether nobody reads the standard output any more; then what is left for it is dropped."""
    asked = select.poll()
    asked.register(1, 0)  # errors are told unasked
    if not asked.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return True


if __name__ == "__main__":
    status = main()
    interrupts.ignore()
    sys.exit(status)
