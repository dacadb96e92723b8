"""Whether our packages are ours: a file or folder of the user's may hide one of them.

Imports none of them, as an import would run what hides it. `python -m model` itself runs a user's own `model.py`
before anything of ours, so nothing here can tell it.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_HOME = Path(__file__).resolve().parents[2]
"""The folder that holds the packages."""


def check_packages(*names: str) -> None:
    """Raises ValueError where the import of one of these packages would find another than the one beside this file."""
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is None:
            raise ValueError(f"the package {name} is not installed beside {_HOME / 'model'}; install ringproof again")
        places = [Path(place).resolve() for place in spec.submodule_search_locations or [spec.origin or name]]
        if places[0] != _HOME / name:
            raise ValueError(
                f"{places[0]} hides the package {name} of ringproof; rename it, or run `ringproof` instead of "
                "`python -m`, elsewhere or without PYTHONPATH"
            )


def exit_if_hidden(*names: str) -> None:
    """Ends the process with one line and status 2 where `check_packages` finds fault."""
    try:
        check_packages(*names)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
