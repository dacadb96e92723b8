"""The command line of the pipeline: `python -m reference generate --pp 3 --prompt "The capital of France is"`."""

from __future__ import annotations

from reference.ranks import interrupts

with interrupts.exit_on_sigint():
    import runpy
    import sys
    from collections.abc import Sequence
    from pathlib import Path

    # read by its path: the import of model would run what hides it
    runpy.run_path(str(Path(__file__).parents[1] / "model" / "entry" / "shadowing.py"))["exit_if_hidden"]("model")

    from reference.cli import commands
    from reference.cli.console import open_standard_streams


def main(words: Sequence[str] | None = None, *, prog: str = "python -m reference") -> int:
    """Runs one command and gives its exit status. words: those of the command line; prog: how it was called."""
    open_standard_streams()
    return commands.main(sys.argv[1:] if words is None else words, prog=prog)


if __name__ == "__main__":
    status = main()
    interrupts.ignore()
    sys.exit(status)
