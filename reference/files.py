"""Files that somebody names for output, looked at before the work whose result they shall hold."""

from __future__ import annotations

import os
from pathlib import Path


def check_file(name: str, path: Path) -> None:
    """Raises ValueError, by the name of the option, where no file can be written at the path."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ValueError(f"{name}: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise ValueError(f"{name}: {path} is a folder; give a file")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise ValueError(f"{name}: {path} may not be written; give a file of your own")
