"""Hang matrices on gloo: ring programs performed by real processes, against the model's predictions.

One on gloo as it is, and one with an isend that does not return before its receive is posted, polling
meanwhile, as reported for XCCL: the semantics of the pull request, on any machine.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from experiments.hang_matrix import matrix
from model.rings.ring_program import Style
from model.semantics.libraries import semantics

NAME = "gloo-matrix"
BLOCKING_NAME = "blocking-matrix"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(matrix.Config):
    """Hang matrix of ring orderings on real gloo processes, against the model."""

    sizes: tuple[int, ...] = (1, 64 * 2**10, 2**20, 16 * 2**20)
    """Bytes of a message."""
    repeats: int = 3
    """Probes of each cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockingConfig(matrix.Config):
    """Hang matrix on gloo processes whose isend blocks and polls, as reported for XCCL, against the model."""

    styles: tuple[Style, ...] = ("isend-wait", "isend", "batch")


SMOKE = Config(ranks=(2, 3), sizes=(1, 2**20), repeats=1)
BLOCKING_SMOKE = BlockingConfig(ranks=(2, 3), sizes=(1,), orderings=("send-first", "parity"))


def run(config: Config) -> dict[str, Any]:
    """The cells on gloo as it is."""
    return _run(config, blocking=False)


def run_blocking(config: BlockingConfig) -> dict[str, Any]:
    """The cells on gloo with an isend that blocks and polls."""
    return _run(config, blocking=True)


def _run(config: matrix.Config, *, blocking: bool) -> dict[str, Any]:
    from experiments.lab.gloo import GlooLauncher  # torch: only what runs probes needs it

    declared = semantics("xccl" if blocking else "gloo")
    with config.harness(GlooLauncher(blocking=blocking)) as harness:
        cells = matrix.measure(config, harness, declared, name=BLOCKING_NAME if blocking else NAME)
    return {"semantics": asdict(declared), "cells": cells}
