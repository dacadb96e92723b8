"""What every command prints: one JSON object or lines for people, and progress on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

from tqdm import tqdm


def show(as_json: bool, data: object, lines: Callable[[], Iterable[str]]) -> None:
    """One JSON object, or the lines; only what is asked for is made."""
    if as_json:
        print(json.dumps(data))
    else:
        print("\n".join(lines()))


def bar(unit: str, *, total: int | None = None) -> tqdm[Any]:
    """A progress bar that shows after two seconds, on a terminal only."""
    return tqdm(total=total, unit=f" {unit}", disable=None, leave=False, delay=2, file=sys.stderr)


def advance(shown: tqdm[Any], done: int, *, least: int = 1) -> None:
    """Moves a bar to an absolute count, but not by less than `least`: some are asked for every state."""
    if done - shown.n >= least:
        shown.update(done - shown.n)
