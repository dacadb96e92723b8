"""torch's pipeline schedules: who would hang where, a line for the sizes that are alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from experiments.records.results import ResultStore
from experiments.records.tables import Table
from experiments.sweeps.schedules import NAME

MAX_SIZES = 3
"""Sizes that a line names one by one."""


def verdicts(store: ResultStore) -> Table:
    """Who would hang where: the sizes of a schedule share a line where the same libraries hang."""
    lines: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for row in store.load(NAME)["rows"]:
        lines[row["schedule"], row["style"], _hanging(row["verdicts"]), row["dry_run"]].append(
            f"{row['ranks']}x{row['microbatches']}"
        )
    rows = [
        (schedule, style, _sizes(sizes), hanging, said) for (schedule, style, hanging, said), sizes in lines.items()
    ]
    return Table(header=("schedule", "messages", "ranks x microbatches", "hangs under", "torch's dry run"), rows=rows)


def _sizes(sizes: list[str]) -> str:
    """A few sizes one by one, more as the first and the last with their number."""
    return ", ".join(sizes) if len(sizes) <= MAX_SIZES else f"{sizes[0]} to {sizes[-1]} ({len(sizes)} sizes)"


def _hanging(verdicts: Mapping[str, str]) -> str:
    """The libraries that hang, or where these are most of them, those that do not."""
    hanging = [name for name, verdict in verdicts.items() if verdict != "ok"]
    fine = [name for name, verdict in verdicts.items() if verdict == "ok"]
    if not hanging or not fine:
        return "every library" if hanging else "none"
    return ", ".join(hanging) if len(hanging) <= len(fine) else f"all but {', '.join(fine)}"
