"""Where results and figures live.

Three folders, so that running never dirties a checkout unless it is asked to: the committed results
(`--record`), a local copy that git ignores (the default), and the short runs of `--smoke`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "experiments" / "results"
LOCAL = COMMITTED / "local"
SMOKE = ROOT / ".smoke"
PAPER = ROOT / "paper"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultPaths:
    """The files of one set of results, under `root`."""

    root: Path

    def result(self, experiment: str, label: str = "cpu") -> Path:
        """The JSON file of an experiment on the kind of hardware that `label` names."""
        return self.root / experiment / f"{label}.json"

    def figure(self, name: str, suffix: str = "png") -> Path:
        """The file of a figure."""
        return self.root / "figures" / f"{name}.{suffix}"


def shown(path: Path) -> str:
    """A path as people type it: relative to the checkout where it lies inside it."""
    path = path.absolute()
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
