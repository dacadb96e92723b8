"""The claims of the pull request sgl-project/sglang#23472, and what the results say of each so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from experiments.catalogue import label_of
from experiments.hang_matrix import gloo, mpich
from experiments.publish.agreement import measured
from experiments.publish.serving import multi_gpu_rows, same_tokens
from experiments.records.results import ResultStore
from experiments.records.tables import Table
from experiments.serving import multi_gpu, pipeline
from experiments.sweeps import order_space, presence_patterns

Outcome = Literal["confirmed", "refined", "refuted", "partly shown", "not yet measured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claim.

    section: of the paper. shows: the experiments whose results the outcome rests on. outcome: what they show.
    holds: whether results show it. finding: what they show, in a sentence. human_minutes: reading and typing.
    """

    id: str
    text: str
    section: str
    outcome: Outcome
    finding: str
    hardware: str
    human_minutes: int = 1
    shows: tuple[str, ...] = ()
    holds: Callable[[ResultStore], bool] | None = None

    @property
    def command(self) -> str:
        """What to type, or what is missing."""
        return "; ".join(f"python -m experiments {name}" for name in self.shows) or "none yet"


def _blocking_ring(store: ResultStore) -> bool:
    """Under a blocking isend send-first hangs, with every style that is not one group; parity never."""
    cells = store.load(gloo.BLOCKING_NAME)["cells"]
    return _all(
        measured(cell) == ("hang" if cell["ordering"] == "send-first" else "ok")
        for cell in cells
        if cell["style"] != "batch" and cell["ordering"] in ("send-first", "parity")
    )


def _send_first(store: ResultStore) -> bool:
    ends = [space["named"]["send-first"]["makespan"] for space in store.load(order_space.NAME)["spaces"]]
    return _blocking_ring(store) and _all(makespan == 0 for makespan in ends) and _full_pipeline_hangs(store)


def _full_pipeline_hangs(store: ResultStore) -> bool:
    """The real pipeline with send-first: one request passes, one for every slot hangs."""
    trials = [trial for trial in store.load(pipeline.NAME)["hangs"] if trial["ordering"] == "send-first"]
    return _all(measured(trial) == ("hang" if trial["requests"] == trial["pp"] else "ok") for trial in trials)


def _pairs(store: ResultStore) -> bool:
    """Neighbours differ everywhere in an even ring; in an odd one all but the pair (P-1, 0), and that costs a step."""
    found = []
    for space in store.load(order_space.NAME)["spaces"]:
        vector, makespan = space["named"]["parity"]["vector"], space["named"]["parity"]["makespan"]
        equal = [rank for rank in range(len(vector)) if vector[rank - 1] == vector[rank]]
        odd = space["ranks"] % 2 == 1
        found.append((equal, makespan) == (([0], 3) if odd else ([], 2)))
    return _all(found)


def _parity(store: ResultStore) -> bool:
    rings = [space["named"]["parity"]["makespan"] > 0 for space in store.load(order_space.NAME)["spaces"]]
    loops = [not point["deadlocked"] for point in _points(store, "parity")]
    real = [
        measured(cell) == "ok"
        for name in (gloo.NAME, gloo.BLOCKING_NAME, mpich.NAME)
        for cell in store.load(name)["cells"]
        if cell["ordering"] == "parity"
    ]
    served = [measured(trial) == "ok" for trial in store.load(pipeline.NAME)["hangs"] if trial["ordering"] == "parity"]
    return _all(rings) and _all(loops) and _all(real) and _all(served)


def _first_large_batch(store: ResultStore) -> bool:
    points = _points(store, "send-first")
    blocking = _all(presence_patterns.deadlocks_iff_full(point) for point in points if point["isend"] == "blocking")
    return blocking and presence_patterns.as_stated(points) and _full_pipeline_hangs(store)


def _same_tokens(store: ResultStore) -> bool:
    """On a CPU at every PP; on cards at PP = 2, 3, 4, and with TP=2 at PP=2, beside one stage of as many shards."""
    runs, rows = store.load(pipeline.NAME)["speed"], multi_gpu_rows(store)
    alike = {(row["pp"], row["tp"]) for name, row in rows.items() if same_tokens(rows, name)}
    on_cards = alike >= {(2, 1), (3, 1), (4, 1), (2, 2)}
    return len({run["pp"] for run in runs}) > 1 and pipeline.same_tokens(runs) and on_cards


def _points(store: ResultStore, ordering: str) -> list[Mapping[str, Any]]:
    return [point for point in store.load(presence_patterns.NAME)["points"] if point["ordering"] == ordering]


def _all(found: Iterable[bool]) -> bool:
    """Whether all are true and there is at least one: a claim about nothing is not shown."""
    seen = list(found)
    return bool(seen) and all(seen)


CLAIMS = (
    Claim(
        id="C1",
        text="With XCCL, isend does not return before the peer posts its receive, and it spins",
        section="Limits",
        outcome="not yet measured",
        finding="needs an Intel GPU; here it is an assumption, which `--blocking-isend` imitates",
        hardware="2 Intel GPUs",
    ),
    Claim(
        id="C2",
        text="Send-first on every rank hangs for every PP >= 2 under such an isend",
        section="Measured",
        outcome="refined",
        finding="a ring step always hangs; the serving loop only once P consecutive iterations carry a batch",
        hardware="2 CPU cores",
        shows=(order_space.NAME, gloo.BLOCKING_NAME, pipeline.NAME),
        holds=_send_first,
    ),
    Claim(
        id="C3",
        text="Parity guarantees each adjacent pair one sender and one receiver at the same time",
        section="Model",
        outcome="refuted",
        finding="true for even P; for odd P ranks P-1 and 0 both send first, which costs a third step, no deadlock",
        hardware="1 CPU core",
        shows=(order_space.NAME,),
        holds=_pairs,
    ),
    Claim(
        id="C4",
        text="Parity ordering is deadlock-free for every PP size",
        section="Proved for every number of ranks",
        outcome="confirmed",
        finding="proved for every P (`make proofs`); no ring step, serving loop or run that was tried deadlocked",
        hardware="2 CPU cores",
        shows=(
            order_space.NAME,
            presence_patterns.NAME,
            gloo.NAME,
            gloo.BLOCKING_NAME,
            mpich.NAME,
            pipeline.NAME,
        ),
        holds=_parity,
    ),
    Claim(
        id="C5",
        text="On CUDA reordering two non-blocking operations has no effect",
        section="Limits",
        outcome="not yet measured",
        finding="needs several NVIDIA GPUs",
        hardware="2 NVIDIA GPUs",
    ),
    Claim(
        id="C6",
        text="It works at TP=1 PP=2,3,4 and TP=2 PP=2, with the same results as without PP",
        section="Measured",
        outcome="confirmed",
        finding="the same greedy tokens at every PP: TP=1 on CPU, TP=1 and TP=2 on CUDA over NCCL",
        hardware="2 CPU cores; 4 NVIDIA GPUs",
        shows=(pipeline.NAME, multi_gpu.NAME),
        holds=_same_tokens,
    ),
    Claim(
        id="C7",
        text="The throughput figures of the pull request: what bounds them, what they could be",
        section="Limits",
        outcome="not yet measured",
        finding="needs GPUs and Llama-3.1-8B",
        hardware="4 GPUs",
    ),
    Claim(
        id="C8",
        text='The hang came only "at the first large warm-up batch"',
        section="The serving loop",
        outcome="refined",
        finding="not the size counts: send-first hangs iff P consecutive iterations carry a batch; one request passes",
        hardware="2 CPU cores",
        shows=(presence_patterns.NAME, pipeline.NAME),
        holds=_first_large_batch,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimStatus:
    """A claim beside the results. outcome: as claimed, `no results`, or `CONTRADICTED` by them."""

    claim: Claim
    outcome: str
    compute_minutes: float | None


def claim_status(claim: Claim, store: ResultStore) -> ClaimStatus:
    """What the results on a store say of a claim."""
    if claim.holds is None:
        return ClaimStatus(claim=claim, outcome=claim.outcome, compute_minutes=None)
    if not all(store.has(name, label_of(name)) for name in claim.shows):
        return ClaimStatus(claim=claim, outcome="no results", compute_minutes=None)
    seconds = sum(store.load(name, label_of(name))["provenance"]["wall_s"] for name in claim.shows)
    outcome = claim.outcome if claim.holds(store) else "CONTRADICTED"
    return ClaimStatus(claim=claim, outcome=outcome, compute_minutes=seconds / 60)


def table(store: ResultStore) -> Table:
    """Every claim with its standing."""
    rows: list[tuple[str | int, ...]] = []
    for claim in CLAIMS:
        found = claim_status(claim, store)
        minutes = "-" if found.compute_minutes is None else f"{claim.human_minutes} + {found.compute_minutes:.1f}"
        shows = ", ".join(claim.shows) or "none yet"
        rows.append((claim.id, claim.text, found.outcome, claim.finding, claim.section, shows, minutes, claim.hardware))
    header = (
        "",
        "claim",
        "outcome",
        "what was found",
        "in the paper",
        "python -m experiments",
        "minutes, human + compute",
        "hardware",
    )
    return Table(header=header, rows=rows)


def contradicted(store: ResultStore) -> list[str]:
    """A line for each claim whose stated outcome the results do not show."""
    return [
        f"claim {claim.id} is said to be {claim.outcome}, which the results do not show"
        for claim in CLAIMS
        if claim_status(claim, store).outcome == "CONTRADICTED"
    ]
