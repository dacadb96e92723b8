"""Every experiment: its name, its sizes, what it runs. And the one way to run and record it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from experiments.cross_checks import engine_speed, simgrid, spin
from experiments.hang_matrix import gloo, mpich
from experiments.records import results
from experiments.records.paths import ResultPaths
from experiments.records.provenance import Stamp
from experiments.serving import cpu, gpu, multi_gpu, pipeline, settings
from experiments.sweeps import order_space, presence_patterns, schedules


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
        Experiment(name=order_space.NAME, config=order_space.Config, smoke=order_space.SMOKE, run=order_space.run),
        Experiment(
            name=presence_patterns.NAME,
            config=presence_patterns.Config,
            smoke=presence_patterns.SMOKE,
            run=presence_patterns.run,
        ),
        Experiment(name=gloo.NAME, config=gloo.Config, smoke=gloo.SMOKE, run=gloo.run),
        Experiment(
            name=gloo.BLOCKING_NAME,
            config=gloo.BlockingConfig,
            smoke=gloo.BLOCKING_SMOKE,
            run=gloo.run_blocking,
        ),
        Experiment(name=mpich.NAME, config=mpich.Config, smoke=mpich.SMOKE, run=mpich.run),
        Experiment(name=pipeline.NAME, config=pipeline.Config, smoke=pipeline.SMOKE, run=pipeline.run),
    )
}

BENCHES: Mapping[str, Experiment] = {
    engine_speed.NAME: Experiment(
        name=engine_speed.NAME, config=engine_speed.Config, smoke=engine_speed.SMOKE, run=engine_speed.run
    ),
    spin.NAME: Experiment(name=spin.NAME, config=spin.Config, smoke=spin.SMOKE, run=spin.run),
    simgrid.NAME: Experiment(name=simgrid.NAME, config=simgrid.Config, smoke=simgrid.SMOKE, run=simgrid.run),
    schedules.NAME: Experiment(name=schedules.NAME, config=schedules.Config, smoke=schedules.SMOKE, run=schedules.run),
    gpu.NAME: Experiment(
        name=gpu.NAME,
        config=gpu.Config,
        smoke=gpu.SMOKE,
        run=gpu.run,
        label=settings.LABEL,
    ),
    multi_gpu.NAME: Experiment(
        name=multi_gpu.NAME,
        config=multi_gpu.Config,
        smoke=multi_gpu.SMOKE,
        run=multi_gpu.run,
        label=settings.LABEL,
    ),
    cpu.NAME: Experiment(name=cpu.NAME, config=cpu.Config, smoke=cpu.SMOKE, run=cpu.run),
}
"""Run on their own: they judge this machine's speed, or need another judge, an accelerator, or the pinned torch."""


def label_of(name: str) -> str:
    """The kind of hardware that an experiment's result is of."""
    return {**CATALOGUE, **BENCHES}[name].label


def record(
    name: str,
    config: Any,
    paths: ResultPaths,
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
    return results.write(paths.result(name, experiment.label), experiment=name, provenance=provenance, body=body)
