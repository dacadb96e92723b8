"""The parts of the README that come from results and from running its own commands.

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

from experiments.publish import claims, report
from experiments.publish import cross_checks as judges
from experiments.publish import serving as serving_speed
from experiments.publish.numbers import generated_numbers
from experiments.records.paths import ROOT, shown
from experiments.records.results import Shelf
from experiments.serving import cards as serving_cards
from experiments.sweeps import schedules

README = ROOT / "README.md"

DEMOS: Mapping[str, str] = {
    "demo-deadlock": "check ring --ranks 3 --ordering send-first --semantics rendezvous",
    "demo-cure": "check ring --ranks 3 --ordering parity --semantics rendezvous",
}
"""Parts that are what `python -m model` prints, by its arguments."""

PART = re.compile(r"<!-- begin (?P<name>[\w-]+) -->\n(?:(?!<!-- begin ).)*?<!-- end (?P=name) -->", re.DOTALL)
NUMBER = re.compile(r"<!-- number (?P<name>\w+) -->[^<\n]*<!-- / -->")


def regenerate(text: str, shelf: Shelf) -> str:
    """The README with its parts made anew.

    Raises ValueError on an unknown part or number, on a marker without its other one, or a missing result.
    """
    _check_markers(text)
    numbers = generated_numbers(shelf)

    def part(match: re.Match[str]) -> str:
        name = match["name"]
        return f"<!-- begin {name} -->\n{_part(name, shelf)}\n<!-- end {name} -->"

    def number(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in numbers:
            raise ValueError(f"unknown number {name!r} in the README; choose one of {', '.join(sorted(numbers))}")
        return f"<!-- number {name} -->{numbers[name]}<!-- / -->"

    return NUMBER.sub(number, PART.sub(part, text))


def write(shelf: Shelf, *, path: Path = README) -> Path:
    """Bring the README up to date."""
    path.write_text(regenerate(_read(path), shelf))
    return path


def stale(shelf: Shelf, *, path: Path = README) -> bool:
    """Whether the README differs from what the results say."""
    text = _read(path)
    return regenerate(text, shelf) != text


def summary(shelf: Shelf) -> str:
    """What was measured, with its origin, in Markdown."""
    served = shelf.take("serving")["provenance"]
    hardware = served["hardware"]
    lines = [
        report.comparison(shelf).markdown(),
        report.limit_line(shelf) + ".",
        report.speeds(shelf).markdown(),
        f"Speeds: {served['arguments']['requests']} requests at once, {served['arguments']['max_batch']} in a "
        f"microbatch, {served['arguments']['max_new_tokens']} new tokens each, one process with "
        f"{served['arguments']['threads']} thread for each stage. Measured on {hardware['cores']} cores of: "
        f"{hardware['cpu']}, {hardware['memory_gib']} GiB, torch {served['versions']['torch']}.",
    ]
    return "\n\n".join(lines)


def _check_markers(text: str) -> None:
    """A marker without its other one would leave a part or a number as it is, unnoticed."""
    rest = NUMBER.sub("", PART.sub("", text))
    if odd := re.search(r"<!-- (?:begin|end|number) .*?-->|<!-- / -->", rest):
        raise ValueError(f"the marker {odd[0]} of the README has no partner; add it, or take this one away")


def _part(name: str, shelf: Shelf) -> str:
    parts: dict[str, Callable[[], str]] = {
        "claims": lambda: claims.table(shelf).markdown(),
        "summary": lambda: summary(shelf),
        "spaces": lambda: report.spaces(shelf).markdown(),
        "hangs": lambda: judges.hangs().markdown(),
        "schedules": lambda: schedules.table(shelf.take(schedules.NAME)).markdown(),
        "judges": lambda: judges.judged(shelf).markdown(),
        "speed": lambda: judges.speed(shelf).markdown(),
        "serving-speed": lambda: _serving_speed(shelf),
        "serving-cards": lambda: f"{serving_cards.table(shelf).markdown()}\n\n{serving_cards.origin(shelf)}",
        **{demo: partial(_run, arguments) for demo, arguments in DEMOS.items()},
    }
    if name not in parts:
        raise ValueError(f"unknown part {name!r} in the README; choose one of {', '.join(sorted(parts))}")
    return parts[name]()


def _serving_speed(shelf: Shelf) -> str:
    parts = (serving_speed.serving_speed(shelf).markdown(), serving_speed.origin(shelf))
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
