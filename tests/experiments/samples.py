"""Small results for tests: shaped as the experiments write them, with what was measured made up as predicted."""

from pathlib import Path
from typing import Any

from experiments.catalogue import label_of
from experiments.hang_matrix import gloo, matrix, mpich
from experiments.lab.hang_detector import Sample
from experiments.publish.agreement import EXPECTED
from experiments.records import results
from experiments.records.paths import ResultPaths
from experiments.records.provenance import Stamp
from experiments.records.results import ResultStore
from experiments.serving import multi_gpu, pipeline
from experiments.sweeps import order_space, presence_patterns
from model.semantics.libraries import semantics

STAMP = Stamp(
    commit="0" * 40,
    dirty=False,
    time_utc="2026-01-02T03:04:05+00:00",
    command=("reproduce",),
    hardware={"cpu": "Test & Co. 100%", "cores": 2, "memory_gib": 8.0, "architecture": "x86_64", "system": "Linux"},
    versions={"python": "3.11.7", "torch": "2.13.0"},
)

SMALL = {"ranks": (2, 3), "orderings": ("send-first", "parity")}


def sample(verdict: str) -> Sample:
    """A sample of two ranks with two operations each."""
    hangs = verdict == "hang"
    return Sample(
        verdict=verdict,  # type: ignore[arg-type]
        done=(0, 0) if hangs else (2, 2),
        operations=(2, 2),
        cpu_seconds=(0.0, 0.0) if hangs else None,
        status=("sleeping", "sleeping"),
        exits=(None, None),
    )


def cells(config: matrix.Config, name: str) -> list[dict[str, Any]]:
    """Stored cells of a matrix that agrees with the model throughout."""
    rules = semantics(name)
    measured = [(cell, sample(EXPECTED[cell.predicted(rules)])) for cell in config.plan()]
    stored = matrix.records(config.cells(), [pair for pair in measured if pair[1].verdict == "ok"], rules)
    for record, cell in zip(stored, config.cells(), strict=True):
        record["samples"] += [pair[1].to_json() for pair in measured if pair[0] == cell and pair[1].verdict == "hang"]
    return stored


def speed(pp: int, *, tokens: int = 3) -> dict[str, Any]:
    """One stored serving run of two requests."""
    request = {"tokens": list(range(tokens)), "seconds": [0.5 + 0.25 * step / pp for step in range(tokens)]}
    return {"pp": pp, "repeat": 0, "requests": [request, request]}


def cards(grid: multi_gpu.Grid) -> dict[str, Any]:
    """One stored row of serving on cards; shards change the tokens, stages do not."""
    foretold = {"prediction": {"ideal": 1.25}, "explained": "As foretold."} if grid.full > 1 else {}
    return {
        "name": grid.name,
        "pp": grid.pp,
        "tp": grid.tp,
        "requests": 2 * grid.full,
        "ordering": "parity",
        "samples": [{"latency": seconds / grid.pp} for seconds in (2.0, 4.0, 8.0)],
        "tokens": [[grid.tp, 2], [3, 4]] * grid.full,
        **foretold,
    }


def bodies() -> dict[str, dict[str, Any]]:
    """What each experiment would store, by its name."""
    hangs = [
        {
            "pp": pp,
            "ordering": ordering,
            "requests": requests,
            "predicted": pipeline.predict(pp=pp, name=ordering, requests=requests, tokens=3),
            "samples": [{"verdict": "hang" if ordering == "send-first" and requests == pp else "ok"}],
        }
        for pp in (2, 3)
        for ordering in ("send-first", "parity")
        for requests in (1, pp)
    ]
    return {
        order_space.NAME: order_space.run(order_space.Config(ranks=(2, 3, 4))),
        presence_patterns.NAME: presence_patterns.run(presence_patterns.Config(ranks=(2,), depths=(0,), jobs=1)),
        gloo.NAME: {"cells": cells(gloo.Config(**SMALL, sizes=(1, 1024)), "gloo")},
        gloo.BLOCKING_NAME: {"cells": cells(gloo.BlockingConfig(**SMALL), "xccl")},
        mpich.NAME: {
            "cells": cells(mpich.Config(**SMALL), "mpich"),
            "eager_limit": {"declared": 8112, "measured": 8112, "tried": [[8112, "ok"], [8113, "hang"]]},
        },
        pipeline.NAME: {"speed": [speed(1), speed(2)], "hangs": hangs},
        multi_gpu.NAME: {"rows": [cards(grid) for grid in multi_gpu.grids(4)]},
    }


ARGUMENTS = {"requests": 2, "max_batch": 1, "max_new_tokens": 3, "threads": 1, "cards": 4, "model": "tiny"}
ARGUMENTS |= {"dtype": "float32", "batch": 2, "input_len": 5, "output_len": 8}


def write(root: Path, found: dict[str, dict[str, Any]]) -> ResultStore:
    """Results in a folder."""
    paths = ResultPaths(root=root)
    for name, body in found.items():
        provenance = STAMP.to_json(arguments=ARGUMENTS, seed=0, wall_s=30.0)
        results.write(paths.result(name, label_of(name)), experiment=name, provenance=provenance, body=body)
    return ResultStore(paths)
