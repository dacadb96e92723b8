"""The command line of the model: `python -m model check ring --ranks 4 --ordering parity`."""

from __future__ import annotations

import sys

from model.cli.commands import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], prog="python -m model"))
