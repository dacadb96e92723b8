"""The parts of README.md and of experiments/README.md that come from results and from running its own commands.

A part stands between `<!-- begin NAME -->` and `<!-- end NAME -->`; a single number between `<!-- number NAME -->`
and `<!-- / -->`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from experiments.catalogue import CATALOGUE
from experiments.publish import claims, cross_checks, report, schedules, serving
from experiments.publish.numbers import generated_numbers
from experiments.records.paths import ROOT, shown
from experiments.records.results import ResultStore
from experiments.records.tables import Table

README = ROOT / "README.md"

FILES = (README, ROOT / "experiments" / "README.md")

DEMOS: Mapping[str, str] = {
    "demo-deadlock": "check ring --ranks 3 --ordering send-first --semantics rendezvous",
    "demo-cure": "check ring --ranks 3 --ordering parity --semantics rendezvous",
}
"""Parts that are what `python -m model` prints, by its arguments."""

PART = re.compile(r"<!-- begin (?P<name>[\w-]+) -->\n(?:(?!<!-- begin ).)*?<!-- end (?P=name) -->", re.DOTALL)
NUMBER = re.compile(r"<!-- number (?P<name>\w+) -->[^<\n]*<!-- / -->")


def regenerate(text: str, store: ResultStore) -> str:
    """The README with its parts made anew.

    Raises ValueError on an unknown part or number, on a marker without its other one, or a missing result.
    """
    _check_markers(text)
    numbers = generated_numbers(store)

    def part(match: re.Match[str]) -> str:
        name = match["name"]
        return f"<!-- begin {name} -->\n{_part(name, store)}\n<!-- end {name} -->"

    def number(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in numbers:
            raise ValueError(f"unknown number {name!r} in the README; choose one of {', '.join(sorted(numbers))}")
        return f"<!-- number {name} -->{numbers[name]}<!-- / -->"

    return NUMBER.sub(number, PART.sub(part, text))


def write(store: ResultStore, *, path: Path = README) -> Path:
    """Bring the README up to date."""
    path.write_text(regenerate(_read(path), store))
    return path


def stale(store: ResultStore, *, path: Path = README) -> bool:
    """Whether the README differs from what the results say."""
    text = _read(path)
    return regenerate(text, store) != text


def summary(store: ResultStore) -> str:
    """What was measured, with its origin, in Markdown."""
    served = store.load("serving")["provenance"]
    hardware = served["hardware"]
    lines = [
        report.comparison(store).markdown(),
        report.limit_line(store) + ".",
        report.speeds(store).markdown(),
        f"Speeds: {served['arguments']['requests']} requests at once, {served['arguments']['max_batch']} in a "
        f"microbatch, {served['arguments']['max_new_tokens']} new tokens each, one process with "
        f"{served['arguments']['threads']} thread for each stage. Measured on {hardware['cores']} cores of: "
        f"{hardware['cpu']}, {hardware['memory_gib']} GiB, torch {served['versions']['torch']}.",
    ]
    return "\n\n".join(lines)


def catalogue(store: ResultStore) -> Table:
    """Every experiment, and how long its result on the store took."""
    rows = []
    for name, experiment in CATALOGUE.items():
        minutes = "-"
        if store.has(name, experiment.label):
            seconds = store.load(name, experiment.label)["provenance"]["wall_s"]
            minutes = f"{seconds / 60:.1f}" if seconds >= 6 else "under 0.1"
        runs = "yes" if experiment.reproduced else ""
        rows.append((f"`{name}`", experiment.about, experiment.hardware, minutes, runs))
    return Table(header=("experiment", "what it does", "needs", "minutes", "in `reproduce`"), rows=rows)


def _check_markers(text: str) -> None:
    """A marker without its other one would leave a part or a number as it is, unnoticed."""
    rest = NUMBER.sub("", PART.sub("", text))
    if odd := re.search(r"<!-- (?:begin|end|number) .*?-->|<!-- / -->", rest):
        raise ValueError(f"the marker {odd[0]} of the README has no partner; add it, or take this one away")


def _part(name: str, store: ResultStore) -> str:
    parts: dict[str, Callable[[], str]] = {
        "claims": lambda: claims.table(store).markdown(),
        "summary": lambda: summary(store),
        "spaces": lambda: report.spaces(store).markdown(),
        "hangs": lambda: cross_checks.hangs().markdown(),
        "experiments": lambda: catalogue(store).markdown(),
        "schedules": lambda: schedules.verdicts(store).markdown(),
        "cross-checks": lambda: cross_checks.verdicts(store).markdown(),
        "speed": lambda: cross_checks.speed(store).markdown(),
        "serving-speed": lambda: _serving_speed(store),
        "serving-cards": lambda: f"{serving.multi_gpu_table(store).markdown()}\n\n{serving.multi_gpu_origin(store)}",
        **{demo: partial(_run, arguments) for demo, arguments in DEMOS.items()},
    }
    if name not in parts:
        raise ValueError(f"unknown part {name!r} in the README; choose one of {', '.join(sorted(parts))}")
    return parts[name]()


def _serving_speed(store: ResultStore) -> str:
    parts = (serving.serving_speed(store).markdown(), serving.origin(store))
    return "\n\n".join(part for part in parts if part)


def _run(arguments: str) -> str:
    """What a command of the model prints, as a block of code."""
    command = [sys.executable, "-m", "model", *arguments.split()]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if ran.returncode not in (0, 1):
        raise ValueError(f"`python -m model {arguments}` failed: {ran.stderr.strip()}")
    return f"```\n{ran.stdout.rstrip()}\n```"


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise ValueError(f"{shown(path)} cannot be read: {error.strerror}") from None
