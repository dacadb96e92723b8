"""`python -m model schedules`: would a pipeline schedule hang, and on which library?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from model.cli.arguments import check_file
from model.entry.output import show
from model.semantics.libraries import NAMED, semantics

MessageStyle = Literal["runtime", "blocking"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedules:
    """Check a schedule of torch.distributed.pipelining: 0 if it finishes under every library asked, 1 if not."""

    file: tyro.conf.Positional[Path]
    """A CSV file as the schedule's `_dump_csv` writes it with format `compute_comms`."""
    semantics: tuple[str, ...] = ()
    """The libraries; by default every one of `python -m model names`."""
    style: MessageStyle = "runtime"
    """How a message is written: as torch's runtime does (isend and irecv), or as blocking calls."""
    nbytes: int = 1
    """Bytes of every message."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        from model.pipelines.torch_schedules import load, misordered, program_of
        from model.verdict.decide import check
        from model.verdict.views.tables import library_table

        check_file(self.file, "the CSV file of a schedule, as its _dump_csv writes it with format compute_comms")
        schedule = load(self.file)
        program = program_of(schedule, style=self.style, nbytes=self.nbytes)
        results = {name: check(program, semantics(name)) for name in self.semantics or NAMED}
        wrong = list(misordered(schedule))
        data: dict[str, Any] = {
            "ranks": len(schedule.rows),
            "misordered": wrong,
            "libraries": {name: result.to_json() for name, result in results.items()},
        }
        show(self.json, data, lambda: [library_table(results), *wrong])
        return 0 if not wrong and all(result.verdict == "ok" for result in results.values()) else 1
