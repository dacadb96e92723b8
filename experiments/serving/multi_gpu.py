"""Serving on several accelerators of one host, each rank on a card of its own: stages, shards, and both.

Beside one card, and beside what the event graph says of the pipeline whose slots are all full.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

from experiments.serving.settings import Do, Setting, latencies, measured, said

if TYPE_CHECKING:
    from experiments.serving.prediction import Prediction

NAME = "serving-cards"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Setting):
    """Serving speed on several accelerators: PP, TP and both beside one card, and the full pipeline's prediction."""

    cards: int = 4
    """Every P up to this many is tried, and T=2."""
    repeats: int = 3
    """Counted runs of the engine."""


SMOKE = Config(model="tiny", dtype="float32", batch=2, input_len=12, output_len=8, cards=2, repeats=2, stage_repeats=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """P stages of T ranks, and how many microbatches are full."""

    pp: int = 1
    tp: int = 1
    full: int = 1

    @property
    def name(self) -> str:
        """Of its row."""
        return f"pp{self.pp}-tp{self.tp}" + (f"-{self.full}-microbatches" if self.full > 1 else "")


def grids(cards: int) -> list[Grid]:
    """What is measured: one card, every PP, TP=2, both where there are cards enough, and the largest PP filled."""
    found = [Grid(pp=pp) for pp in range(1, cards + 1)] + [Grid(tp=2)]
    return [*found, *([Grid(pp=cards // 2, tp=2)] if cards >= 4 else []), Grid(pp=cards, full=cards)]


def run(config: Config) -> dict[str, Any]:
    """`rows`: each with its raw samples and tokens, or `failed` and why.

    Raises ValueError on what cannot be asked for, and where every row failed.
    """
    config.check(())
    if config.cards < 2:
        raise ValueError(f"cards is {config.cards}; give 2 or more")
    rows: dict[str, Callable[[Do], dict[str, Any]]] = {
        grid.name: partial(_row, config, grid) for grid in grids(config.cards)
    }
    return {"rows": measured(rows, name=NAME, limit_s=config.limit_s, said=said)}


def _row(config: Config, grid: Grid, do: Do) -> dict[str, Any]:
    requests = grid.full * config.batch
    found = {"tp": grid.tp, **config.engine(do, requests=requests, pp=grid.pp, tp=grid.tp, transport="device")}
    if grid.full == 1:
        return found
    apart, prediction = config.with_prediction(do, found, transport="device")
    return {**found, **apart, "explained": explained(median(latencies(found)), prediction)}


def explained(measured: float, found: Prediction) -> str:
    """One sentence: how far the measured seconds are from the event graph's."""
    rest = measured - found.ideal
    return (
        f"All slots full, the run took {measured:.2f} s, {abs(rest) / found.ideal:.0%} "
        f"{'more' if rest >= 0 else 'less'} than the {found.ideal:.2f} s that the event graph gives from stage and hop "
        "times measured apart."
    )
