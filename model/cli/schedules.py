"""`python -m model schedules`: would a pipeline schedule hang, and on which library?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from tabulate import tabulate

from model.cli.output import show
from model.pipelines import torch_schedules as schedules
from model.semantics.libraries import NAMED, semantics
from model.verdict.decide import check
from model.verdict.result import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedules:
    """Check a schedule of torch.distributed.pipelining: 0 if it finishes under every library asked, 1 if not."""

    file: tyro.conf.Positional[Path]
    """A CSV file as the schedule's `_dump_csv` writes it with format `compute_comms`."""
    semantics: tuple[str, ...] = ()
    """The libraries; by default every one of `python -m model names`."""
    style: schedules.MessageStyle = "runtime"
    """How a message is written: as torch's runtime does (isend and irecv), or as blocking calls."""
    nbytes: int = 1
    """Bytes of every message."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        read = schedules.load(self.file)
        made = schedules.program_of(read, style=self.style, nbytes=self.nbytes)
        results = {name: check(made, semantics(name)) for name in self.semantics or NAMED}
        wrong = list(schedules.misordered(read))
        data: dict[str, Any] = {
            "ranks": len(read.rows),
            "misordered": wrong,
            "libraries": {name: result.to_json() for name, result in results.items()},
        }
        show(self.json, data, lambda: _lines(results, wrong))
        return 0 if not wrong and all(result.verdict == "ok" for result in results.values()) else 1


def _lines(results: dict[str, Result], wrong: list[str]) -> Iterator[str]:
    rows = [
        [name, result.verdict, " -> ".join(f"{item.rank}: {item.op}" for item in result.circuit)]
        for name, result in results.items()
    ]
    yield tabulate(rows, headers=["library", "verdict", "who waits for whom"], tablefmt="simple")
    yield from wrong
