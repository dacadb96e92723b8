"""The cells of a hang matrix: which programs are measured, and what the model predicts of them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from model.program.checked import Program
from model.rings import orderings
from model.rings.ring_program import STYLES, Style, ring
from model.semantics.parameters import Semantics

if TYPE_CHECKING:
    from experiments.lab.hang_detector import Sample
    from experiments.lab.harness import Harness, Launcher


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One ring program: what is predicted and what is performed."""

    ordering: str
    ranks: int
    nbytes: int
    style: Style
    rounds: int

    def program(self) -> Program:
        return ring(
            ranks=self.ranks,
            rounds=self.rounds,
            ordering=orderings.ordering(self.ordering, self.ranks),
            style=self.style,
            nbytes=self.nbytes,
        )

    def predicted(self, semantics: Semantics) -> str:
        from model import check

        return check(self.program(), semantics).verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Which cells to measure, and how patiently."""

    orderings: tuple[str, ...] = tuple(orderings.NAMED)
    ranks: tuple[int, ...] = (2, 3, 4, 5)
    sizes: tuple[int, ...] = (1, 2**20)
    """Bytes of a message."""
    styles: tuple[Style, ...] = STYLES
    rounds: int = 2
    repeats: int = 1
    """Probes of each cell."""
    window_s: float = 2.0
    """How long no rank may move before a hang is considered."""
    limit_s: float = 60.0
    """After this long a probe that is not decided is unclear."""
    seed: int = 0

    def cells(self) -> list[Cell]:
        """Every combination. Raises ValueError where there is none, or one of them is no program."""
        found = [
            Cell(ordering=name, ranks=ranks, nbytes=nbytes, style=style, rounds=self.rounds)
            for name in self.orderings
            for ranks in self.ranks
            for nbytes in self.sizes
            for style in self.styles
        ]
        if not found:
            raise ValueError("an empty matrix; give at least one ordering, number of ranks, size and style")
        for cell in found:
            cell.program()
        return found

    def plan(self) -> list[Cell]:
        """Each cell `repeats` times, mixed, so that drift of the machine falls on all alike."""
        if self.repeats < 1:
            raise ValueError(f"repeats is {self.repeats}; give 1 or more")
        plan = self.cells() * self.repeats
        random.Random(self.seed).shuffle(plan)
        return plan

    def harness(self, launcher: Launcher) -> Harness:
        """Where the probes run."""
        from experiments.lab.hang_detector import TimeLimits
        from experiments.lab.harness import Harness

        return Harness(launcher, TimeLimits(window_s=self.window_s, limit_s=self.limit_s))


def measure(config: Config, harness: Harness, semantics: Semantics, *, name: str) -> list[dict[str, Any]]:
    """Measure every cell, with a progress bar; the cells as they are stored."""
    from tqdm import tqdm

    plan = config.plan()
    samples = list(tqdm(harness.measure(plan), desc=name, total=len(plan), unit="probe", smoothing=0.05))
    return records(config.cells(), samples, semantics)


def records(
    found: Sequence[Cell], samples: Iterable[tuple[Cell, Sample]], semantics: Semantics
) -> list[dict[str, Any]]:
    """The cells as they are stored: the prediction and every raw sample."""
    taken: dict[Cell, list[Sample]] = {cell: [] for cell in found}
    for cell, sample in samples:
        taken[cell].append(sample)
    return [
        {
            **asdict(cell),
            "predicted": cell.predicted(semantics),
            "samples": [_sample(cell, sample) for sample in taken[cell]],
        }
        for cell in found
    ]


def _sample(cell: Cell, sample: Sample) -> dict[str, Any]:
    """A sample; that of an undisturbed finish is only its verdict, every other carries all that was seen."""
    if sample.verdict == "ok":
        return {"verdict": "ok"}
    positions = zip(cell.program(), sample.done, strict=True)
    at = [str(ops[done]) if 0 <= done < len(ops) else None for ops, done in positions]
    return {**sample.to_json(), "at": at}
