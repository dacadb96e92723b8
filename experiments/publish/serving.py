"""How fast the reference serves, against what was to be reached; what was not measured says so."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from experiments.records.results import ResultStore
from experiments.records.tables import Table
from experiments.serving import cpu, gpu, multi_gpu
from experiments.serving.settings import LABEL, whole_rates

NOT_MEASURED = "not measured"

LEAST_RATE = 1000.0
"""Output tokens per second over the whole run, of the slowest run."""

LEAST_SHARE = 0.8
"""Of PP=1's rate, all stages on one card."""

LEAST_RECORDED = 0.97
"""Of the rate without a trace: what `--trace` may cost."""

MOST_SCHEDULER = 0.05
"""Of a decode step."""

_Line = tuple[str, str, str, str]


def serving_speed(store: ResultStore) -> Table:
    """Every target of serving: what was measured, and whether it is reached."""
    rows = [*_on_gpu(store), *_on_cpu(store)]
    return Table(header=("what", "to reach", "measured", "reached"), rows=rows)


def origin(store: ResultStore) -> str:
    """Where the figures come from, and the sentence on the pipeline that shares a card; empty where there are none."""
    lines = []
    if store.has(gpu.NAME, LABEL):
        found = store.load(gpu.NAME, LABEL)
        given, where = found["provenance"]["arguments"], found["provenance"]["hardware"]
        rows = _rows(found)
        lines.append(
            f"On the accelerator: {where.get('accelerator') or where['cpu']}, {given['model']} with random weights in "
            f"{given['dtype']}, batch {given['batch']}, input {given['input_len']}, output {given['output_len']}, "
            f"torch {found['provenance']['versions']['torch']}."
        )
        if "pp4-32" in rows:
            lines.append(rows["pp4-32"]["explained"])
    if store.has(cpu.NAME):
        found = store.load(cpu.NAME)
        given, where = found["provenance"]["arguments"], found["provenance"]["hardware"]
        lines.append(
            f"On the CPU: {given['threads']} threads of {where['cpu']}, {given['model']} in float32, input "
            f"{given['input_len']}, output {given['output_len']}, medians of {given['repeats']} interleaved runs, "
            f"torch {found['provenance']['versions']['torch']}."
        )
    return " ".join(lines)


def _on_gpu(store: ResultStore) -> list[_Line]:
    rows: dict[str, Mapping[str, Any]] = {}
    given: Mapping[str, Any] = {"batch": 8, "pp": 4, "in_flight": 64, "output_len": 128}
    if store.has(gpu.NAME, LABEL):
        found = store.load(gpu.NAME, LABEL)
        rows, given = _rows(found), found["provenance"]["arguments"]
    output_len, pp = given["output_len"], given["pp"]
    names: tuple[str, ...] = ("pp1", "peer", "pp4", "pp4-32")
    rates = {name: whole_rates(rows[name], output_len) for name in names if name in rows}
    return [
        _rate_line(f"one accelerator, batch {given['batch']}, PP=1", rates),
        _ratio_line("the same, beside transformers with a static cache", "at least as fast", rates, "pp1", "peer", 1.0),
        _ratio_line(
            f"PP={pp}, {pp} processes on that card, beside PP=1",
            f"at least {LEAST_SHARE:.0%}",
            rates,
            "pp4",
            "pp1",
            LEAST_SHARE,
        ),
        _predicted_line(f"PP={pp}, {pp * given['batch']} requests in {pp} microbatches", rows, rates, pp, given),
        *(
            _recorded_line(stages, rows.get(f"{name}-recorded"), output_len)
            for stages, name in ((1, "pp1"), (pp, "pp4"))
        ),
        _scheduler_line(f"the scheduler's own time per iteration, {given['in_flight']} requests in flight", rows),
    ]


def _rows(found: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Those that did not fail."""
    return {row["name"]: row for row in found["rows"] if "failed" not in row}


def _rate_line(what: str, rates: Mapping[str, list[float]]) -> _Line:
    reach = f"at least {LEAST_RATE:,.0f} output tokens/s over the whole run"
    if "pp1" not in rates:
        return what, reach, NOT_MEASURED, ""
    return what, reach, _spread(rates["pp1"]), _yes(min(rates["pp1"]) >= LEAST_RATE)


def _ratio_line(what: str, reach: str, rates: Mapping[str, list[float]], ours: str, theirs: str, least: float) -> _Line:
    if not {ours, theirs} <= rates.keys():
        return what, reach, NOT_MEASURED, ""
    ratio = median(rates[ours]) / median(rates[theirs])
    return what, reach, f"{ratio:.2f} times ({_spread(rates[ours])}, {_spread(rates[theirs])})", _yes(ratio >= least)


def _recorded_line(stages: int, row: Mapping[str, Any] | None, output_len: int) -> _Line:
    what, reach = f"PP={stages}, all that its ranks do recorded", f"at least {LEAST_RECORDED:.0%} of the rate without"
    if row is None:
        return what, reach, NOT_MEASURED, ""
    rates = {"with": whole_rates(row, output_len), "without": whole_rates(row["beside"], output_len)}
    *_, found, reached = _ratio_line(what, reach, rates, "with", "without", LEAST_RECORDED)
    said = row["conformance"]
    word = "allows" if said["allowed"] else "does NOT allow"
    return what, reach, f"{found}; the model {word} the {said['steps']:,} steps", reached if said["allowed"] else "NO"


def _predicted_line(
    what: str,
    rows: Mapping[str, Mapping[str, Any]],
    rates: Mapping[str, list[float]],
    pp: int,
    given: Mapping[str, Any],
) -> _Line:
    reach = "beside the event graph's prediction"
    if "pp4-32" not in rows:
        return what, reach, NOT_MEASURED, ""
    tokens, found = pp * given["batch"] * given["output_len"], rows["pp4-32"]["prediction"]
    predicted = f"{tokens / found['shared']:,.0f} predicted for one card, {tokens / found['ideal']:,.0f} for {pp} cards"
    return what, reach, f"{_spread(rates['pp4-32'])}; {predicted}", ""


def _scheduler_line(what: str, rows: Mapping[str, Mapping[str, Any]]) -> _Line:
    reach = f"under {MOST_SCHEDULER:.0%} of a decode step"
    if "scheduler" not in rows:
        return what, reach, NOT_MEASURED, ""
    row = rows["scheduler"]
    own, share = median(row["iterations_s"]), gpu.scheduler_share(row)
    steps = ", ".join(f"{median(step['decode_s']) * 1e3:.2f} ms at batch {step['batch']}" for step in row["steps"])
    return what, reach, f"{own * 1e6:.0f} us, {share:.1%} of the shortest step ({steps})", _yes(share < MOST_SCHEDULER)


def _on_cpu(store: ResultStore) -> list[_Line]:
    what, reach = "CPU, PP=1, {phase} of batch {batch}, beside transformers", "at least as fast"
    if not store.has(cpu.NAME):
        return [
            (what.format(phase=phase, batch=batch), reach, NOT_MEASURED, "")
            for batch in cpu.Config().batch
            for phase in ("prefill", "decode")
        ]
    return [
        (
            what.format(phase=phase, batch=batch),
            reach,
            f"{ratio:.2f} times ({ours:,.1f} and {theirs:,.1f} tokens/s)",
            _yes(ratio >= 1),
        )
        for batch, found in cpu.comparison(store.load(cpu.NAME)).items()
        for phase, ratio, ours, theirs in (
            ("prefill", found.prefill, found.ours.prefill, found.theirs.prefill),
            ("decode", found.decode, found.ours.decode, found.theirs.decode),
        )
    ]


def _spread(rates: list[float]) -> str:
    """The median, and from the slowest to the fastest run."""
    return f"{median(rates):,.0f} tokens/s ({min(rates):,.0f} to {max(rates):,.0f})"


def _yes(reached: bool) -> str:
    return "yes" if reached else "NO"


def same_tokens(rows: Mapping[str, Mapping[str, Any]], name: str) -> bool | None:
    """Whether a row has the greedy tokens of one stage of as many shards; None where there is no such row.

    Of a filled pipeline the first microbatch is compared, whose prompts are the same.
    """
    row = rows[name]
    for given in rows.values():
        if given["pp"] == 1 < row["pp"] and given["tp"] == row["tp"]:
            return bool(given["tokens"] == row["tokens"][: given["requests"]])
    return None


def multi_gpu_rows(store: ResultStore) -> dict[str, Mapping[str, Any]]:
    """The rows that did not fail, by name."""
    return {row["name"]: row for row in store.load(multi_gpu.NAME, LABEL)["rows"] if "failed" not in row}


def multi_gpu_table(store: ResultStore) -> Table:
    """Every row: how fast, beside one card, and whether the tokens are the same."""
    given, rows = store.load(multi_gpu.NAME, LABEL)["provenance"]["arguments"], multi_gpu_rows(store)
    rates = {name: whole_rates(row, given["output_len"]) for name, row in rows.items()}
    one = multi_gpu.Grid().name
    lines = []
    for name, row in rows.items():
        ratio = f"{median(rates[name]) / median(rates[one]):.2f}" if one in rates else ""
        lines.append(
            (
                row["pp"],
                row["tp"],
                row["requests"],
                f"{median(rates[name]):,.0f} ({min(rates[name]):,.0f} to {max(rates[name]):,.0f})",
                ratio,
                row["ordering"],
                {True: "yes", False: "NO", None: ""}[same_tokens(rows, name)],
            )
        )
    header = ("PP", "TP", "requests", "output tokens/s, whole run", "beside one card", "ordering", "tokens as at PP=1")
    return Table(header=header, rows=lines)


def multi_gpu_origin(store: ResultStore) -> str:
    """Where the figures come from, and the sentences on the filled pipeline."""
    found = store.load(multi_gpu.NAME, LABEL)
    given, where = found["provenance"]["arguments"], found["provenance"]["hardware"]
    lines = [
        f"{given['cards']} cards of one host, {where.get('accelerator') or where['cpu']}, {given['model']} with random "
        f"weights in {given['dtype']}, {given['batch']} requests in a microbatch, input {given['input_len']}, output "
        f"{given['output_len']}, torch {found['provenance']['versions']['torch']}."
    ]
    lines += [row["explained"] for row in found["rows"] if "explained" in row]
    lines += [f"{row['name']} was not measured: {row['failed']}." for row in found["rows"] if "failed" in row]
    return " ".join(lines)
