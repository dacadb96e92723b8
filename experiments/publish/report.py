"""Results against predictions: the tables that people read, and the list of what disagrees."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from statistics import mean
from typing import Any

from experiments.hang_matrix import gloo, mpich
from experiments.publish.agreement import agreement, measured, mismatches
from experiments.records.results import ResultStore
from experiments.records.tables import Table
from experiments.serving import pipeline
from experiments.sweeps import order_space

MATRICES: Mapping[str, str] = {
    gloo.NAME: "gloo",
    gloo.BLOCKING_NAME: "gloo, blocking isend",
    mpich.NAME: "MPICH",
}
"""The hang matrices, and what each measures."""


def comparison(store: ResultStore) -> Table:
    """The model against the measurements: a row for each library and style of calls, and for the pipeline."""
    header = ("measured on", "style", "cells", "probes", "predicted to hang", "hung", "unclear", "mismatches")
    rows: list[tuple[str | int, ...]] = []
    for name, library in MATRICES.items():
        if store.has(name):
            styles = defaultdict(list)
            for cell in store.load(name)["cells"]:
                styles[cell["style"]].append(cell)
            rows += [(library, style, *_counts(cells)) for style, cells in styles.items()]
    if store.has(pipeline.NAME):
        rows.append(("pipeline, blocking isend", "serving loop", *_counts(store.load(pipeline.NAME)["hangs"])))
    if len(rows) > 1:
        totals = [sum(int(row[column]) for row in rows) for column in range(2, len(header))]
        rows.append(("all", "", *totals))
    return Table(header=header, rows=rows)


def disagreements(store: ResultStore) -> list[str]:
    """A line for each prediction that a measurement contradicts."""
    lines = []
    for name, library in MATRICES.items():
        if store.has(name):
            lines += [f"{library}: {line}" for line in mismatches(store.load(name)["cells"])]
    if store.has(mpich.NAME):
        limit = store.load(mpich.NAME)["eager_limit"]
        if limit["declared"] != limit["measured"]:
            lines.append(f"MPICH: eager limit declared as {limit['declared']} B, measured as {limit['measured']} B")
    if store.has(pipeline.NAME):
        result = store.load(pipeline.NAME)
        lines += [
            f"pipeline: PP={trial['pp']}, {trial['ordering']}, {trial['requests']} requests: "
            f"predicted {trial['predicted']}, measured {measured(trial)}"
            for trial in result["hangs"]
            if agreement([trial]).mismatches
        ]
        if not pipeline.same_tokens(result["speed"]):
            lines.append("pipeline: the tokens are not the same at every PP")
    return lines


def speeds(store: ResultStore) -> Table:
    """The serving runs: means over the repeated runs of each PP."""
    rows: list[tuple[str | int, ...]] = []
    for pp, runs in speed_runs(store.load(pipeline.NAME)).items():
        rates = [run.tokens_per_s for run in runs]
        rows.append(
            (
                pp,
                len(runs),
                f"{mean(rates):.1f}",
                f"{min(rates):.1f} to {max(rates):.1f}",
                f"{mean(run.ttft_s for run in runs):.2f} s",
                f"{mean(run.latency_s for run in runs):.2f} s",
            )
        )
    header = ("PP", "runs", "tokens/s", "from run to run", "time to first token", "latency")
    return Table(header=header, rows=rows)


def speed_runs(result: Mapping[str, Any]) -> dict[int, list[pipeline.Speed]]:
    """The reduced runs of a stored serving result, by PP."""
    runs = defaultdict(list)
    for run in result["speed"]:
        runs[run["pp"]].append(pipeline.speed(run["requests"]))
    return dict(runs)


def spaces(store: ResultStore) -> Table:
    """All orderings of one ring step: deadlocks, best and worst makespan, and what the named ones take."""
    names = ("parity", "last-sends-first")
    rows: list[tuple[str | int, ...]] = []
    for item in store.load(order_space.NAME)["spaces"]:
        steps = [int(count) for count in item["makespan"]]
        named = [item["named"][name]["makespan"] for name in names]
        rows.append((item["ranks"], item["orderings"], item["deadlocks"], min(steps), max(steps), *named))
    return Table(header=("P", "orderings", "deadlocks", "least steps", "most steps", *names), rows=rows)


def limit_line(store: ResultStore) -> str:
    """One line on MPICH's eager limit."""
    limit = store.load(mpich.NAME)["eager_limit"]
    verdict = "agree" if limit["declared"] == limit["measured"] else "DISAGREE"
    return f"MPICH's eager limit: {limit['declared']} B in the model, {limit['measured']} B measured: {verdict}"


def _counts(cells: list[Mapping[str, Any]]) -> tuple[int, ...]:
    seen = agreement(cells)
    return (seen.cells, seen.samples, seen.predicted_hangs, seen.measured_hangs, seen.unclear, seen.mismatches)
