"""Every experiment, as a table: its name, what it does, where its code is. Nothing of it is imported before it is used.

What the experiments say of themselves at length stands with their arguments; `about` repeats its first paragraph, and
a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """An experiment's code. config: the class of its arguments, whose defaults are the full size. smoke: its smallest
    size. run: gives the result's own fields."""

    config: Callable[[], Any]
    smoke: Any
    run: Callable[[Any], Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One line of the catalogue.

    module, config, smoke, run: where its code is, by name. hardware: what it needs. label: of the kind of hardware
    that its result is of, and so the name of the result's file. reproduced: whether `reproduce` runs it; the others
    judge this machine's speed, or need another tool, an accelerator, or the pinned torch.
    """

    name: str
    about: str
    module: str
    hardware: str
    config: str = "Config"
    smoke: str = "SMOKE"
    run: str = "run"
    label: str = "cpu"
    reproduced: bool = False

    def load(self) -> Work:
        """Imports the code."""
        module = import_module(self.module)
        return Work(
            config=getattr(module, self.config), smoke=getattr(module, self.smoke), run=getattr(module, self.run)
        )


CATALOGUE: Mapping[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            name="orderspace",
            about="Deadlocks and makespans of all orderings of one ring step under rendezvous, in the model.",
            module="experiments.sweeps.order_space",
            hardware="1 CPU core",
            reproduced=True,
        ),
        Experiment(
            name="patterns",
            about="Verdicts on the serving loop: which patterns of iterations with a batch deadlock, under which "
            "isend.",
            module="experiments.sweeps.presence_patterns",
            hardware="2 CPU cores",
            reproduced=True,
        ),
        Experiment(
            name="gloo-matrix",
            about="Hang matrix of ring orderings on real gloo processes, against the model.",
            module="experiments.hang_matrix.gloo",
            hardware="2 CPU cores",
            reproduced=True,
        ),
        Experiment(
            name="blocking-matrix",
            about="Hang matrix on gloo processes whose isend blocks and polls, as reported for XCCL, against the "
            "model.",
            module="experiments.hang_matrix.gloo",
            config="BlockingConfig",
            smoke="BLOCKING_SMOKE",
            run="run_blocking",
            hardware="2 CPU cores",
            reproduced=True,
        ),
        Experiment(
            name="mpich-matrix",
            about="Hang matrix of ring orderings on MPICH, against the model; and MPICH's eager limit.",
            module="experiments.hang_matrix.mpich",
            hardware="2 CPU cores",
            reproduced=True,
        ),
        Experiment(
            name="serving",
            about="Serving runs of the reference pipeline: tokens per second at each PP, and the hang under a blocking "
            "isend.",
            module="experiments.serving.pipeline",
            hardware="2 CPU cores",
            reproduced=True,
        ),
        Experiment(
            name="bench-model",
            about="Benchmarks of the model's engines, each in a process of its own.",
            module="experiments.cross_checks.engine_speed",
            hardware="2 CPU cores; spin and cc",
        ),
        Experiment(
            name="spin",
            about="Verdicts and numbers of states of SPIN beside the model's, in both encodings; needs spin and cc.",
            module="experiments.cross_checks.spin",
            hardware="2 CPU cores; spin and cc",
        ),
        Experiment(
            name="simgrid",
            about="Verdicts of SMPI and makespans of SimGrid's actors beside the model's; needs SimGrid and its Python "
            "module.",
            module="experiments.cross_checks.simgrid",
            hardware="2 CPU cores; SimGrid",
        ),
        Experiment(
            name="schedules",
            about="Verdicts on the pipeline schedules that this torch has, under each library.",
            module="experiments.sweeps.schedules",
            hardware="1 CPU core",
        ),
        Experiment(
            name="serving-gpu",
            about="Serving speed on one accelerator: PP=1, transformers, PP=4 on the same card and its prediction, the "
            "scheduler.",
            module="experiments.serving.gpu",
            hardware="1 accelerator",
            label="gpu",
        ),
        Experiment(
            name="serving-cards",
            about="Serving speed on several accelerators: PP, TP and both beside one card, and the full pipeline's "
            "prediction.",
            module="experiments.serving.multi_gpu",
            hardware="4 accelerators of one host",
            label="gpu",
        ),
        Experiment(
            name="serving-cpu",
            about="Serving speed on a CPU: prefill and decode of the engine at PP=1 beside transformers' own generate.",
            module="experiments.serving.cpu",
            hardware="2 CPU cores",
        ),
    )
}

REPRODUCED: Mapping[str, Experiment] = {name: one for name, one in CATALOGUE.items() if one.reproduced}


def label_of(name: str) -> str:
    """The kind of hardware that an experiment's result is of."""
    return CATALOGUE[name].label
