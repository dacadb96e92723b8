"""Whether our packages are ours: a file or folder of the user's may hide one of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

PACKAGES = ("model", "reference", "experiments")

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
