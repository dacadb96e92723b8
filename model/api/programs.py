"""Where programs come from: texts and files, rings, the serving loop, pipeline schedules and patterns.

`program_of` takes whatever a caller may give, above what `model.verdict.arguments` takes: named programs and schedules.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.program.numbers import check_whole
from model.verdict.arguments import ProgramLike, as_lists, as_program

if TYPE_CHECKING:
    from model.pipelines.torch_schedules import MessageStyle
    from model.program.checked import Program
    from model.rings.orderings import Ordering
    from model.rings.ring_program import Style
    from model.semantics.table import Table
    from model.synthesis.orders import Synthesis

MAX_LISTED = 100_000
"""Ring steps that are written as lists of operations; larger rings of blocking calls are tables."""


def read_program(source: ProgramLike) -> Program:
    """The program of a text, a file, JSON, or lists of operations or of their texts. Raises ValueError on any other.

    >>> import model
    >>> pair = model.read_program("0: send(1); recv(1)\\n1: recv(0); send(0)")
    >>> len(pair), pair[0][0].peer
    (2, 1)
    >>> model.read_program(["send(1); recv(1)", "recv(0); send(0)"]) == pair
    True
    """
    return as_lists(source)


def ring(
    ordering: str | Ordering = "parity",
    ranks: int | None = None,
    *,
    rounds: int = 1,
    style: Style = "send",
    nbytes: int = 1,
) -> Program | Table:
    """A ring: every rank sends to the next and receives from the previous, in the order that its ordering says.

    ordering: a name of `model.orderings()`, or a letter a rank, S for one that sends first, R for one that receives
    first; then ranks may be left out. Without either there are 4 ranks. Above 100,000 steps the ring is a table,
    which `check` takes.

    >>> import model
    >>> model.check(model.ring("SSSS"), "rendezvous").verdict
    'deadlock'
    >>> model.check(model.ring("parity", 1_000_000), "rendezvous").verdict
    'ok'
    """
    from model.rings.orderings import Ordering
    from model.rings.orderings import ordering as named
    from model.rings.ring_program import ring as lists
    from model.rings.ring_program import ring_table

    if not isinstance(ordering, str | Ordering):
        raise ValueError(f"an ordering is expected, and this is {ordering!r}; give a name such as 'parity', or 'SRSR'")
    if ranks is None:
        ranks = len(ordering) if isinstance(ordering, str) and ordering and set(ordering) <= {"S", "R"} else 4
    check_whole("ranks", ranks, 1)
    policy = named(ordering, ranks) if isinstance(ordering, str) else ordering
    check_whole("rounds", rounds, 1)
    if style == "send" and ranks * rounds > MAX_LISTED:
        return ring_table(ranks=ranks, rounds=rounds, ordering=policy, nbytes=nbytes)
    return lists(ranks=ranks, rounds=rounds, ordering=policy, style=style, nbytes=nbytes)


def serving(
    ranks: int = 4,
    *,
    depth: int = 0,
    ordering: str | Ordering = "send-first",
    tp: int = 1,
    present: Sequence[bool] | None = None,
    nbytes: int = 1,
    seconds: float = 0.0,
) -> Program:
    """The serving loop of `ranks` pipeline stages, of `tp` ranks each, as a program.

    present: for each iteration, whether a batch is formed; by default one in every slot, three times. depth: how many
    microbatches more than stages are in flight. Its communicators are control and data.

    >>> import model
    >>> loop = model.serving(3, ordering="send-first")
    >>> [model.check(loop, {"control": "gloo", "data": library}).verdict for library in ("gloo", "rendezvous")]
    ['ok', 'deadlock']
    """
    from model.pipelines.tensor_parallel import unroll_grid
    from model.rings.orderings import output_policy

    policy = output_policy(ordering, ranks) if isinstance(ordering, str) else ordering
    slots = [True] * (3 * (ranks + depth)) if present is None else list(present)
    return unroll_grid(stages=ranks, tp=tp, depth=depth, ordering=policy, present=slots, nbytes=nbytes, seconds=seconds)


def pipeline(schedule: Any, *, style: MessageStyle = "runtime", nbytes: int = 1) -> Program:
    """The program of a schedule of `torch.distributed.pipelining`.

    schedule: the schedule object; the CSV file that its `_dump_csv` writes as compute_comms; or rows of cells, one a
    rank. style: as torch's runtime sends and receives, or blocking.

    >>> import model
    >>> rows = [["0F0", "0SEND_F0", "0RECV_B0", "0B0"], ["1RECV_F0", "1F0", "1B0", "1SEND_B0"]]
    >>> model.check(model.pipeline(rows), "rendezvous").verdict
    'ok'
    """
    from model.pipelines import torch_schedules

    if is_schedule(schedule):
        read = torch_schedules.from_torch(schedule)
    elif isinstance(schedule, torch_schedules.Schedule):
        read = schedule
    elif isinstance(schedule, str | Path):
        read = torch_schedules.load(Path(schedule))
    elif isinstance(schedule, Iterable):
        read = torch_schedules.schedule(schedule)
    else:
        raise ValueError(
            f"a schedule is expected, and this is {type(schedule).__name__}; give a schedule object of "
            "torch.distributed.pipelining, its CSV file, or a row of cells for each rank"
        )
    return torch_schedules.program_of(read, style=style, nbytes=nbytes)


def synthesise(pattern: Any = "ring", *sizes: int, rounds: int = 1) -> Synthesis:
    """An order of all messages that cannot deadlock under rendezvous, and how far it is from the fewest steps.

    pattern: ring, bidirectional or chain with its ranks; torus or stages with its rows and columns; a Pattern, or its
    JSON file; or a schedule, as `model.pipeline` takes it.

    >>> import model
    >>> found = model.synthesise("torus", 2, 3)
    >>> found.result.verdict, found.steps, found.bound
    ('ok', 4, 4)
    """
    from model.pipelines import torch_schedules
    from model.synthesis import patterns
    from model.synthesis.orders import of_pattern, of_precedence
    from model.synthesis.precedence_of import of_schedule

    if isinstance(pattern, patterns.Pattern):
        return of_pattern(pattern, rounds=rounds)
    if is_schedule(pattern):
        return of_precedence(of_schedule(torch_schedules.from_torch(pattern)))
    if isinstance(pattern, torch_schedules.Schedule):
        return of_precedence(of_schedule(pattern))
    named: dict[str, tuple[Any, int]] = {name: (make, 1) for name, make in patterns.LINES.items()}
    named |= {name: (make, 2) for name, make in patterns.GRIDS.items()}
    if isinstance(pattern, str) and pattern in named:
        make, count = named[pattern]
        if len(sizes) != count:
            what = "the number of ranks" if count == 1 else "rows and columns"
            raise ValueError(
                f"{pattern} takes {what}, and {len(sizes)} numbers are given; write {pattern!r}, 4"
                + (", 2" if count == 2 else "")
            )
        return of_pattern(make(*sizes), rounds=rounds)
    if isinstance(pattern, str | Path) and Path(pattern).is_file():
        path = Path(pattern)
        if path.suffix == ".csv":
            return of_precedence(of_schedule(torch_schedules.load(path)))
        return of_pattern(patterns.load(path), rounds=rounds)
    raise ValueError(f"{pattern!r} is neither a named pattern ({', '.join(named)}) nor a file; choose one of them")


def is_schedule(given: object) -> bool:
    """Whether this is a schedule object of `torch.distributed.pipelining`; torch is not imported."""
    return hasattr(given, "pipeline_order_with_comms") or hasattr(given, "pipeline_order")


def program_of(given: Any) -> Program | Table:
    """The program that is meant: as `model.verdict.arguments` has it, a schedule, or `ring`, the one of 4 ranks."""
    if isinstance(given, str) and given == "ring":
        return ring()
    if is_schedule(given) or (isinstance(given, str | Path) and str(given).endswith(".csv")):
        return pipeline(given)
    if type(given).__name__ == "Schedule":
        return pipeline(given)
    if type(given).__name__ == "Synthesis" or type(given).__name__ == "Cure":
        return as_program(given.program)
    return as_program(given)


def name_of(given: Any) -> str:
    """What a program is called in titles: the name of its file, or nothing."""
    if isinstance(given, Path):
        return given.name
    if isinstance(given, str) and given == "ring":
        return "ring"
    if isinstance(given, str) and "\n" not in given and len(given) < 256 and Path(given).is_file():
        return Path(given).name
    return type(given).__name__ if is_schedule(given) else ""
