"""What an engine will be, worked out before any process starts: checkpoint, transport, ordering, and the preflight."""

from __future__ import annotations

from dataclasses import dataclass, replace

from model import Result
from model.pipelines.serving import CONTROL, DATA
from model.pipelines.tensor_parallel import STAGE_DATA, STAGE_LIBRARY
from model.rings.orderings import Ordering
from model.traces.trace import LoopSettings, Trace
from reference.checkpoint.loader import Checkpoint, resolve_checkpoint
from reference.config import EngineConfig
from reference.device import HOST_BACKEND, WARM_SEMANTICS, select_dtype
from reference.llama.config import LlamaConfig, partition_layers
from reference.llama.ipex import use_ipex
from reference.llama.tensor_parallel import check_tp
from reference.option_checks import check_file
from reference.ranks.torchrun import RankInfo
from reference.transport.selection import TransportChoice, choose_transport
from reference.verification.preflight import BLOCKING_ISEND, choose_ordering, preflight


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginePlan:
    """config: with every `auto` decided. shape: of the model. layers: of each stage. semantics: what is declared of the
    library that carries tensors. prediction: the model's verdict, None where it was not asked."""

    config: EngineConfig
    checkpoint: Checkpoint
    shape: LlamaConfig
    layers: list[range]
    transport: TransportChoice
    ipex: bool
    semantics: str
    ordering: Ordering
    prediction: Result | None


def make_plan(config: EngineConfig, job: RankInfo | None) -> EnginePlan:
    """Raises ValueError for what cannot work; DeadlockPredicted where the model sees a deadlock."""
    if job is not None:
        job.check(config.pp, config.tp)
    checkpoint = resolve_checkpoint(config.model, config.load, config.seed)
    shape = checkpoint.config()
    layers = partition_layers(shape.layers, config.pp)
    check_tp(shape, config.tp)
    local_ranks = config.ranks if job is None else job.local_ranks
    transport = _transport(config, job, local_ranks)
    dtype = select_dtype(config.dtype, transport.device)
    ipex = use_ipex(config.ipex, transport.device, dtype, captured=config.decode == "captured")
    semantics, ordering, prediction = _verified_ordering(config, transport)
    if config.record_logits is not None:
        check_file("record_logits", config.record_logits)
    decided = replace(
        config,
        device=transport.device.kind,
        transport=transport.kind,
        control="shared" if transport.rings else "group",
        backend=transport.backend,
        ipex="on" if ipex else "off",
        context_length=min(config.context_length, shape.max_position),
        threads=config.threads_per_rank(local_ranks),
    )
    return EnginePlan(
        config=decided,
        checkpoint=checkpoint,
        shape=shape,
        layers=layers,
        transport=transport,
        ipex=ipex,
        semantics=semantics,
        ordering=ordering,
        prediction=prediction,
    )


def _transport(config: EngineConfig, job: RankInfo | None, local_ranks: int) -> TransportChoice:
    blocked_by = "an isend that blocks" if config.blocking_isend else None
    return choose_transport(
        device=config.device,
        transport=config.transport,
        backend=config.backend,
        ranks=local_ranks,
        blocked_by=blocked_by if job is None else "a job of a launcher",
        control=config.control,
        stages=config.pp,
    )


def _verified_ordering(config: EngineConfig, transport: TransportChoice) -> tuple[str, Ordering, Result | None]:
    """The declared semantics, the ordering, and what the model says of them."""
    declared = BLOCKING_ISEND if config.blocking_isend else transport.semantics
    semantics = declared if config.semantics == "auto" else config.semantics
    sizes = {"ranks": config.pp, "depth": config.depth, "tp": config.tp}
    ordering = choose_ordering(config.ordering, control=transport.control, data=semantics, **sizes)
    if not config.preflight:
        return semantics, ordering, None
    return semantics, ordering, preflight(policy=ordering, control=transport.control, data=semantics, **sizes)


def trace_header(config: EngineConfig, transport: TransportChoice, *, ordering: str, data: str) -> Trace:
    """What the trace of an engine begins with. data: the declared semantics of its tensor messages."""
    declared = {CONTROL: transport.control, DATA: data}
    # Of a stage's ranks; they have met before the loop begins where decode steps are captured, so it is not asked for.
    collective = {
        CONTROL: HOST_BACKEND,
        DATA: HOST_BACKEND if transport.kind == "shared" else WARM_SEMANTICS.get(data, data),
    }
    return Trace(
        ranks=config.ranks,
        loop=LoopSettings(depth=config.depth, ordering=ordering, tp=config.tp),
        semantics=declared | {beside: collective[comm] for beside, comm in STAGE_LIBRARY.items()},
        queued=frozenset() if transport.backend == HOST_BACKEND else frozenset({DATA, STAGE_DATA}),
        clocks=("",) * config.ranks,
        events=(),
        complete=False,
    )
