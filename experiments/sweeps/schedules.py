"""torch's pipeline schedules under every library: who would hang where.

Each schedule is taken twice: as torch posts it, and with the same messages in the same order as blocking calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from experiments.sweeps.schedule_kinds import KINDS
from model.semantics.libraries import NAMED, semantics

NAME = "schedules"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Verdicts on the pipeline schedules that this torch has, under each library."""

    schedules: tuple[str, ...] = tuple(KINDS)
    ranks: tuple[int, ...] = (2, 3, 4, 8)
    rounds: tuple[int, ...] = (1, 2)
    """Microbatches for each stage of the pipeline."""
    nbytes: int = 8 * 2**20
    """Bytes of a message; by default 1024 tokens of Llama-3.1-8B's hidden state in bfloat16."""
    semantics: tuple[str, ...] = tuple(NAMED)


SMOKE = Config(ranks=(2, 3), rounds=(1,))


def run(config: Config) -> dict[str, Any]:
    """`rows`: for each schedule, size and style the verdict under each library, with the circuit of those that hang.

    dry_run: what torch's own dry run says of its plan.
    """
    from tqdm import tqdm

    from experiments.sweeps.torch_schedules import blocking, dry_run, posted_program
    from model.verdict.decide import check

    if unknown := set(config.schedules) - set(KINDS):
        raise ValueError(f"unknown schedules {', '.join(sorted(unknown))}; choose from {', '.join(KINDS)}")
    if min((*config.ranks, *config.rounds, config.nbytes), default=0) < 1:
        raise ValueError("ranks, rounds and nbytes are each 1 or more, and there is at least one of each")
    libraries = [semantics(name) for name in config.semantics]
    sizes = [
        (KINDS[name], ranks, rounds) for name in config.schedules for ranks in config.ranks for rounds in config.rounds
    ]
    rows = []
    for kind, ranks, rounds in tqdm(sizes, desc=NAME, unit="schedule"):
        microbatches = ranks * kind.stages * rounds
        posted = posted_program(kind, ranks=ranks, microbatches=microbatches, nbytes=config.nbytes)
        said = dry_run(posted)
        styles = {"as torch posts it": posted.program, "blocking calls": blocking(posted.program)}
        for style, program in styles.items():
            results = {rules.name: check(program, rules) for rules in libraries}
            rows.append(
                {
                    "schedule": kind.name,
                    "ranks": ranks,
                    "stages": ranks * kind.stages,
                    "microbatches": microbatches,
                    "style": style,
                    "operations": sum(map(len, program)),
                    "dry_run": said,
                    "verdicts": {name: result.verdict for name, result in results.items()},
                    "circuits": {
                        name: [f"{item.rank}: {item.op}" for item in result.circuit]
                        for name, result in results.items()
                        if result.hangs
                    },
                }
            )
    return {"rows": rows}
