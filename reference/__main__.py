"""The command line of the pipeline: `python -m reference generate --pp 3 --prompt "The capital of France is"`."""

from __future__ import annotations

from reference.ranks import interrupts

with interrupts.exit_on_sigint():
    import sys

    from reference.cli import commands
    from reference.cli.console import open_standard_streams


def main() -> int:
    """Runs one command and gives its exit status."""
    open_standard_streams()
    return commands.main(sys.argv[1:], prog="python -m reference")


if __name__ == "__main__":
    status = main()
    interrupts.ignore()
    sys.exit(status)
