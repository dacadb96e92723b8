"""The numbers that the README and the paper quote, each under a name."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mean, median

from experiments.hang_matrix import gloo, mpich
from experiments.publish.agreement import agreement
from experiments.publish.report import MATRICES, speed_runs
from experiments.publish.serving import multi_gpu_rows
from experiments.records.results import ResultStore
from experiments.serving import multi_gpu, pipeline
from experiments.serving.settings import LABEL, latencies
from experiments.sweeps import order_space, presence_patterns
from model.semantics import libraries

SHORT: Mapping[str, str] = {
    gloo.NAME: "Gloo",
    gloo.BLOCKING_NAME: "Blocking",
    mpich.NAME: "Mpich",
}
SPELLED = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")


def generated_numbers(store: ResultStore) -> dict[str, str]:
    """Every number by its name, which is one word of letters, as LaTeX wants it.

    For each hang matrix (Gloo, Blocking, Mpich; Matrix for all together): Cells, Probes, Hangs, Unclear, Agree,
    Mismatches. MpichLimit, MpichLimitDeclared in bytes. SpaceMaxRanks. PatternsMaxRanks, PatternsTried.
    ServingCores, ServingCpu, ServingRequests, ServingTokens (of each request); for each PP ServingRateOne to
    ServingRateFour, in tokens/s. HangTrials, HangMismatches of the pipeline. Cards (how many), CardsName, CardsSeconds,
    CardsPredicted of the filled pipeline. Raises ValueError where a result is missing. Libraries: those with a name of
    their own.
    """
    numbers: dict[str, str] = {"Libraries": str(len(libraries.NAMED))}
    every = []
    for name in MATRICES:
        cells = store.load(name)["cells"]
        numbers |= _counts(SHORT[name], cells)
        every += cells
    numbers |= _counts("Matrix", every)
    limit = store.load(mpich.NAME)["eager_limit"]
    numbers |= {"MpichLimit": str(limit["measured"]), "MpichLimitDeclared": str(limit["declared"])}
    numbers["SpaceMaxRanks"] = str(max(space["ranks"] for space in store.load(order_space.NAME)["spaces"]))
    points = store.load(presence_patterns.NAME)["points"]
    numbers["PatternsMaxRanks"] = str(max(point["ranks"] for point in points))
    numbers["PatternsTried"] = str(sum(len(presence_patterns.tried(point)) for point in points))
    served = store.load(pipeline.NAME)
    arguments, hardware = served["provenance"]["arguments"], served["provenance"]["hardware"]
    numbers |= {
        "ServingCores": str(hardware["cores"]),
        "ServingCpu": str(hardware["cpu"]),
        "ServingRequests": str(arguments["requests"]),
        "ServingTokens": str(arguments["max_new_tokens"]),
    }
    for pp, runs in speed_runs(served).items():
        numbers[f"ServingRate{SPELLED[pp]}"] = f"{mean(run.tokens_per_s for run in runs):.1f}"
    trials = agreement(served["hangs"])
    numbers |= {"HangTrials": str(trials.cells), "HangMismatches": str(trials.mismatches)}
    return numbers | _cards(store)


def _cards(store: ResultStore) -> dict[str, str]:
    provenance = store.load(multi_gpu.NAME, LABEL)["provenance"]
    given, where = provenance["arguments"], provenance["hardware"]
    filled = next((row for row in multi_gpu_rows(store).values() if "prediction" in row), None)
    if filled is None:
        raise ValueError(f"the filled pipeline was not measured; run `python -m experiments {multi_gpu.NAME}`")
    return {
        "Cards": str(given["cards"]),
        "CardsName": str(where.get("accelerator") or where["cpu"]),
        "CardsSeconds": f"{median(latencies(filled)):.2f}",
        "CardsPredicted": f"{filled['prediction']['ideal']:.2f}",
    }


def _counts(prefix: str, cells: list[dict[str, object]]) -> dict[str, str]:
    seen = agreement(cells)
    found = {
        "Cells": seen.cells,
        "Probes": seen.samples,
        "Hangs": seen.measured_hangs,
        "Unclear": seen.unclear,
        "Agree": seen.cells - seen.mismatches,
        "Mismatches": seen.mismatches,
    }
    return {prefix + name: str(count) for name, count in found.items()}
