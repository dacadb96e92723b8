"""How to explore: what a command line asks of the search of every state."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

Reduce = Literal["none", "persistent", "rotation"]
"""none: every state. persistent: enough steps of each state to reach every ending. rotation: states that differ by
a turn of the ranks which leaves the program as it is are one."""

MAX_MEMORY = 4 * 2**30

MAX_STATES = 5_000_000
"""Of one search, where nothing else is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to explore. max_memory: bytes of the frontiers of a packed search.

    checkpoint: where an interrupt leaves a packed search. resume: such a file, to go on from.
    """

    reduce: Reduce = "none"
    max_memory: int = MAX_MEMORY
    checkpoint: Path | None = None
    resume: Path | None = None

    def __str__(self) -> str:
        """Those that are not the default, as people type them."""
        changed = (field.name for field in fields(self) if getattr(self, field.name) != field.default)
        return ", ".join(f"--{name.replace('_', '-')} {getattr(self, name)}" for name in changed)
