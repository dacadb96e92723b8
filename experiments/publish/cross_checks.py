"""What stands beside the model: outside judges of its verdicts, and its speed against what was to be reached."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from experiments.cross_checks import engine_speed, simgrid, spin
from experiments.cross_checks.engine_speed import ROWS
from experiments.records.results import ResultStore
from experiments.records.tables import Table
from model.validation.diagnosis import Explanation, explain
from model.validation.reported_hangs import known_hangs

UNITS: Mapping[str, str] = {
    "seconds": "{:.2f} s",
    "peak_gib": "{:.2f} GiB",
    "times_spin": "{:.2f} times SPIN",
    "events_per_s": "{:,.0f} events/s",
    "times_simpy": "{:.1f} times simpy",
}


def verdicts(store: ResultStore) -> Table:
    """Each judge, how many cases, in how many of them it agrees with the model."""
    found = store.load(spin.NAME)
    straight = [row for row in found["rows"] if row["encoding"] == "straight"]
    known = found["known"].values()
    other = store.load(simgrid.NAME)
    limit, name = other["threshold"], other["simgrid"].replace(" version", "")
    stored = f"largest message that it stores: {limit['measured']} bytes"
    rows: list[tuple[str | int, ...]] = [
        (
            found["spin"].partition(" --")[0].replace("Spin Version", "SPIN"),
            "verdicts and numbers of states of rings",
            len(straight),
            _agree(straight),
        ),
        (
            "counts known before this model",
            "numbers of states, rings by parity, 3 rounds",
            len(known),
            sum(count["expected"] == count["model"] for count in known),
        ),
        (f"{name}, SMPI", stored, 1, int(limit["measured"] == limit["declared"])),
        (f"{name}, SMPI", "verdicts of rings around that size", len(other["verdicts"]), _agree(other["verdicts"])),
        (f"{name}, SMPI", "verdicts of the reported hangs, as MPI", len(other["reports"]), _agree(other["reports"])),
        (f"{name}, actors", "makespans of rings", len(other["makespans"]), _agree(other["makespans"])),
    ]
    return Table(header=("judge", "of", "cases", "agree"), rows=rows)


def _agree(rows: list[Mapping[str, Any]]) -> int:
    return sum(row["agree"] for row in rows)


def speed(store: ResultStore) -> Table:
    """Every benchmark: what was to be reached, and the worst of its runs."""
    rows: list[tuple[str | int, ...]] = []
    for row in store.load(engine_speed.NAME)["rows"]:
        worst = [
            UNITS[name].format((min if limit < 0 else max)(sample[name] for sample in row["samples"]))
            for name, limit in ROWS[row["name"]].limits.items()
        ]
        rows.append((row["about"], row["reach"], ", ".join(worst), "yes" if row["reached"] else "NO"))
    return Table(header=("what", "to reach", "worst run", "reached"), rows=rows)


def hangs() -> Table:
    """Every reported hang as the model explains it; sizes of messages are left out."""
    return Table(
        header=("report", "library", "verdict", "libraries that hang", "what decides", "cure"),
        rows=[_explained(explain(hang)) for hang in known_hangs()],
    )


def _explained(found: Explanation) -> tuple[str, ...]:
    decides = ", ".join(found.parameters) or "nothing: every library hangs"
    cure = re.sub(r", nbytes=\d+", "", found.proposal.what if found.proposal else found.why_no_order)
    under = f"{len(found.hangs)} of {len(found.hangs) + len(found.finishes)}"
    return found.hang.name, found.hang.library, found.result.verdict, under, decides, cure
