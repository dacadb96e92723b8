"""Every experiment: its name, its sizes, what it runs. And the one way to run and record it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from experiments.cross_checks import engine_speed as bench_model
from experiments.cross_checks import simgrid, spin
from experiments.hang_matrix import gloo as gloo_matrix
from experiments.hang_matrix import mpich as mpich_matrix
from experiments.records import results
from experiments.records.paths import Places
from experiments.records.provenance import Stamp
from experiments.serving import cards as serving_cards
from experiments.serving import cpu as serving_cpu
from experiments.serving import gpu as serving_gpu
from experiments.serving import pipeline as serving
from experiments.serving import settings as serving_attempts
from experiments.sweeps import order_space as orderspace
from experiments.sweeps import presence_patterns as patterns
from experiments.sweeps import schedules


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """config: the class of its arguments, whose defaults are the full size. smoke: its smallest size. label: the kind
    of hardware that its result is of."""

    name: str
    config: Callable[[], Any]
    smoke: Any
    run: Callable[[Any], Mapping[str, Any]]
    label: str = "cpu"


CATALOGUE: Mapping[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        Experiment(name=orderspace.NAME, config=orderspace.Config, smoke=orderspace.SMOKE, run=orderspace.run),
        Experiment(name=patterns.NAME, config=patterns.Config, smoke=patterns.SMOKE, run=patterns.run),
        Experiment(name=gloo_matrix.NAME, config=gloo_matrix.Config, smoke=gloo_matrix.SMOKE, run=gloo_matrix.run),
        Experiment(
            name=gloo_matrix.BLOCKING_NAME,
            config=gloo_matrix.BlockingConfig,
            smoke=gloo_matrix.BLOCKING_SMOKE,
            run=gloo_matrix.run_blocking,
        ),
        Experiment(name=mpich_matrix.NAME, config=mpich_matrix.Config, smoke=mpich_matrix.SMOKE, run=mpich_matrix.run),
        Experiment(name=serving.NAME, config=serving.Config, smoke=serving.SMOKE, run=serving.run),
    )
}

BENCHES: Mapping[str, Experiment] = {
    bench_model.NAME: Experiment(
        name=bench_model.NAME, config=bench_model.Config, smoke=bench_model.SMOKE, run=bench_model.run
    ),
    spin.NAME: Experiment(name=spin.NAME, config=spin.Config, smoke=spin.SMOKE, run=spin.run),
    simgrid.NAME: Experiment(name=simgrid.NAME, config=simgrid.Config, smoke=simgrid.SMOKE, run=simgrid.run),
    schedules.NAME: Experiment(name=schedules.NAME, config=schedules.Config, smoke=schedules.SMOKE, run=schedules.run),
    serving_gpu.NAME: Experiment(
        name=serving_gpu.NAME,
        config=serving_gpu.Config,
        smoke=serving_gpu.SMOKE,
        run=serving_gpu.run,
        label=serving_attempts.LABEL,
    ),
    serving_cards.NAME: Experiment(
        name=serving_cards.NAME,
        config=serving_cards.Config,
        smoke=serving_cards.SMOKE,
        run=serving_cards.run,
        label=serving_attempts.LABEL,
    ),
    serving_cpu.NAME: Experiment(
        name=serving_cpu.NAME, config=serving_cpu.Config, smoke=serving_cpu.SMOKE, run=serving_cpu.run
    ),
}
"""Run on their own: they judge this machine's speed, or need another judge, an accelerator, or the pinned torch."""


def label_of(name: str) -> str:
    """The kind of hardware that an experiment's result is of."""
    return {**CATALOGUE, **BENCHES}[name].label


def record(
    name: str,
    config: Any,
    places: Places,
    stamp: Stamp,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Path:
    """Run one experiment and write its result, with its provenance and how long it took."""
    experiment = {**CATALOGUE, **BENCHES}[name]
    began = clock()
    body = experiment.run(config)
    arguments = asdict(config)
    provenance = stamp.to_json(arguments=arguments, seed=arguments.get("seed"), wall_s=clock() - began)
    return results.write(places.result(name, experiment.label), experiment=name, provenance=provenance, body=body)
