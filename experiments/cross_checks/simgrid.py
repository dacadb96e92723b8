"""SimGrid as a second simulator: SMPI's verdicts around its threshold, and makespans of rings as actors (s4u)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from experiments.cross_checks import smpi
from model.program.checked import Program, program
from model.program.ops import Compute
from model.rings.orderings import NAMED, ordering
from model.rings.ring_program import STYLES, Style, ring
from model.semantics.libraries import semantics

if TYPE_CHECKING:
    from model.validation.reported_hangs import ReportedHang

NAME = "simgrid"

STORED = {"bsend": True, "gloo": False}
"""Libraries of the makespans, an isend of which returns at once; whether they store every message or none."""

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Verdicts of SMPI and makespans of SimGrid's actors beside the model's; needs SimGrid and its Python module."""

    ranks: tuple[int, ...] = (2, 3, 4, 5)
    sizes: tuple[int, ...] = (1, 65535, 65536, 65537, 2**20)
    """Bytes of a message, for verdicts."""
    styles: tuple[Style, ...] = STYLES
    reports: bool = True
    """The reported hangs too, as MPI programs."""
    rounds: tuple[int, ...] = (1, 3)
    """Of the makespans; verdicts are of one round."""
    timed_sizes: tuple[int, ...] = (1, 4096)
    """Bytes of a message, for makespans."""
    skew: int = 700
    """Ticks by which each rank starts later than the one before, for makespans."""
    jobs: int = 2
    """Programs at a time."""
    limit_s: float = 60.0
    """Seconds that one may run."""


SMOKE = Config(ranks=(2, 3), sizes=(65535, 65536), styles=("send",), reports=False, rounds=(1,), timed_sizes=(4096,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """One ring program. library: under which the model is asked."""

    ordering: str
    style: Style
    ranks: int
    rounds: int
    nbytes: int
    library: str

    def program(self, skew: int = 0) -> Program:
        """The ring, each rank starting `skew` ticks later than the one before."""
        policy = ordering(self.ordering, self.ranks)
        made = ring(ranks=self.ranks, rounds=self.rounds, ordering=policy, style=self.style, nbytes=self.nbytes)
        return program(((Compute(seconds=rank * skew), *ops) for rank, ops in enumerate(made)) if skew else made)


def run(config: Config) -> dict[str, Any]:
    """`simgrid`: its version. `threshold`: of SMPI, as declared and as measured. Rows of both answers, and `agree`:

    `verdicts`: of rings on SMPI. `reports`: of reported hangs on SMPI. `makespans`: of rings as actors, in ticks.
    """
    from experiments.cross_checks.makespans import TIMING
    from model.validation.reported_hangs import known_hangs

    if config.jobs < 1:
        raise ValueError(f"jobs is {config.jobs}; give 1 or more")
    limit_s, jobs = config.limit_s, config.jobs
    stuck = list(known_hangs()) if config.reports else []
    return {
        "simgrid": smpi.version(),
        "threshold": threshold(limit_s),
        "verdicts": _all(list(rings(config)), lambda case: verdict(case, limit_s), name="verdicts", jobs=jobs),
        "reports": _all(stuck, lambda hang: reported(hang, limit_s), name="reported hangs", jobs=jobs),
        "timing": asdict(TIMING),
        "makespans": _all(
            list(timed(config)), lambda case: makespan(case, config.skew, limit_s), name="makespans", jobs=jobs
        ),
    }


def rings(config: Config) -> Iterator[Ring]:
    """The rings whose verdicts are compared: every named ordering."""
    for name, style, ranks, nbytes in itertools.product(NAMED, config.styles, config.ranks, config.sizes):
        yield Ring(ordering=name, style=style, ranks=ranks, rounds=1, nbytes=nbytes, library="smpi")


def timed(config: Config) -> Iterator[Ring]:
    """The rings whose makespans are compared: every named ordering, stored and not."""
    for name, style, ranks, rounds, nbytes, library in itertools.product(
        NAMED, config.styles, config.ranks, config.rounds, config.timed_sizes, STORED
    ):
        yield Ring(ordering=name, style=style, ranks=ranks, rounds=rounds, nbytes=nbytes, library=library)


def verdict(case: Ring, limit_s: float) -> dict[str, Any]:
    """Both verdicts on a ring."""
    return {**asdict(case), **_verdicts(case.program(), limit_s)}


def reported(hang: ReportedHang, limit_s: float) -> dict[str, Any]:
    """Both verdicts on the program of a reported hang, as if it had been written for MPI."""
    return {"report": hang.name, **_verdicts(hang.program, limit_s)}


def _verdicts(made: Program, limit_s: float) -> dict[str, Any]:
    from model import check

    ours, theirs = check(made, semantics("smpi")), smpi.hangs(made, limit_s=limit_s)
    return {"verdict": ours.verdict, "smpi": "deadlock" if theirs else "ok", "agree": ours.hangs == theirs}


def makespan(case: Ring, skew: int, limit_s: float) -> dict[str, Any]:
    """Both makespans of a ring in ticks, None where it hangs."""
    from experiments.cross_checks.makespans import compare_makespans

    stored = STORED[case.library]
    return {**asdict(case), **compare_makespans(case.program(skew), case.library, stored=stored, limit_s=limit_s)}


def threshold(limit_s: float = 60.0, *, most: int = 2**24) -> dict[str, int]:
    """Bytes of the largest message that SMPI stores: `declared` in the model, and `measured` by send-first.

    Raises ValueError where it is not between 1 and `most`.
    """
    passes, stuck = 0, most + 1
    while stuck - passes > 1:
        nbytes = (passes + stuck) // 2
        made = ring(ranks=2, rounds=1, ordering=NAMED["send-first"], nbytes=nbytes)
        passes, stuck = (passes, nbytes) if smpi.hangs(made, limit_s=limit_s) else (nbytes, stuck)
    if passes == 0 or stuck > most:
        raise ValueError(f"SMPI {'hangs' if passes == 0 else 'passes'} at every size from 1 to {most} bytes")
    return {"declared": semantics("smpi").eager_limit, "measured": passes}


def _all(items: Sequence[_Item], judge: Callable[[_Item], _Answer], *, name: str, jobs: int) -> list[_Answer]:
    """The answers in order, several at a time, with a progress bar."""
    from concurrent.futures import ThreadPoolExecutor

    from tqdm import tqdm

    with ThreadPoolExecutor(jobs) as pool:
        pending = [pool.submit(judge, item) for item in items]
        try:
            return [future.result() for future in tqdm(pending, desc=f"{NAME}: {name}", unit="program")]
        finally:
            pool.shutdown(cancel_futures=True)
