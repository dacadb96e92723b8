"""The process of one rank, from its start to its end, and what it tells the engine."""

from __future__ import annotations

import gc
import traceback
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from model.rings.orderings import output_policy
from reference.checkpoint.loader import Checkpoint, load_stage
from reference.config import EngineConfig
from reference.device import HOST, Device, select_device, select_dtype
from reference.llama import ipex
from reference.llama.config import partition_layers
from reference.llama.graph_runner import CapturedStage, select_runner
from reference.llama.kv_cache import KVCache
from reference.llama.stage import Stage
from reference.llama.tensor_parallel import SINGLE_RANK, TensorParallelRank
from reference.pipeline.driver import Frontend, Pipeline
from reference.ranks import ipc
from reference.ranks.processes import end_with_parent, keep_memory, redirect_stdout
from reference.ranks.torchrun import RankInfo
from reference.scheduling.batch import ScheduleBatch
from reference.scheduling.scheduler import Scheduler
from reference.transport.base import CollectiveFailed, PeerLost
from reference.transport.rendezvous import (
    Groups,
    connect_locally,
    connect_store,
    interface_to,
    join_ranks,
    make_transport,
    use_interface,
)
from reference.transport.shared_memory import RingSet
from reference.transport.stage_group import StageGroup
from reference.verification import status_board as phases
from reference.verification.status_board import StatusBoard
from reference.verification.trace_writer import TraceWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class RankSpec:
    """All that a rank is told when its process starts. `ordering` is the policy's name, already chosen; `info`
    says which of its host's processes it is."""

    rank: int
    config: EngineConfig
    ordering: str
    checkpoint: Checkpoint
    info: RankInfo
    store_port: int | None = None  # on this host; None where a launcher has a store
    rings: RingSet | None = None  # where messages go through memory that ranks share


class LogitsRecorder:
    """Keeps every batch's logits, on the host."""

    def __init__(self) -> None:
        self._batches: list[dict[str, Any]] = []

    def __call__(self, batch: ScheduleBatch, logits_BV: Tensor) -> None:
        self._batches.append({"requests": batch.ids, "starts": batch.starts, "logits": logits_BV.to(HOST, copy=True)})

    def save(self, path: Any) -> None:
        """Writes a list with, for each batch, the ids of its requests, their positions and logits [B, V]."""
        torch.save(self._batches, path)


def main(spec: RankSpec, board: StatusBoard, pipe: Connection) -> None:
    """The process of a rank that the engine started."""
    end_with_parent()
    redirect_stdout()  # what the user reads is for the engine alone
    run(spec, board, pipe, ipc.PipeFrontend(pipe) if spec.rank == 0 else None)


def run(spec: RankSpec, board: StatusBoard, connection: ipc.EngineConnection, frontend: Frontend | None = None) -> None:
    """A rank's work. It returns after a stop, and exits with 1 after a failure, of which it tells first."""
    try:
        serve(spec, board, connection, frontend)
    except ValueError as error:
        ipc.fail(connection, ipc.FailureKind.USAGE, str(error))
    except (PeerLost, CollectiveFailed, dist.DistError) as error:
        ipc.fail(connection, ipc.FailureKind.LOST, str(error))
    except Exception:
        ipc.fail(connection, ipc.FailureKind.CRASH, traceback.format_exc())
    board.begin_step(spec.rank, phases.PHASE_END)


def serve(spec: RankSpec, board: StatusBoard, connection: ipc.EngineConnection, frontend: Frontend | None) -> None:
    """Joins the others, loads the stage, and runs the loop to its end."""
    config, rank = spec.config, spec.rank
    shard = TensorParallelRank(rank=rank % config.tp, size=config.tp)
    torch.set_num_threads(config.threads_per_rank(spec.info.local_ranks))
    device = select_device(config.device, spec.info.local_rank, may_share=config.transport != "device")
    if device.is_host:
        keep_memory()
    board.begin_step(rank, phases.PHASE_JOIN)
    groups, stage_group = _join(spec, device, board)
    board.begin_step(rank, phases.PHASE_LOAD)
    stage, cache = _load(spec, device, shard, stage_group)
    transport = make_transport(config, device, groups, spec.rings)
    logits = LogitsRecorder() if config.record_logits is not None and stage.last and shard.rank == 0 else None
    trace_writer = _trace_writer(spec, device)
    running = select_runner(stage, cache, device, choice=config.decode, most=config.max_batch)
    pipeline = Pipeline(
        rank=rank,
        ranks=config.ranks,
        device=device,
        dtype=select_dtype(config.dtype, device),
        stage=running,
        cache=cache,
        scheduler=_scheduler(config),
        transport=transport,
        board=board,
        frontend=frontend,
        observe=logits,
        trace_writer=trace_writer,
        shard=shard,
        group=stage_group,
        overlap=config.overlaps(on_host=device.is_host),
    )
    # first: to ranks of other nodes, who may hear of it late, another bound applies
    board.begin_step(rank, phases.PHASE_READY)
    ipc.send_message(connection, ipc.READY, None)
    gc.collect()
    gc.freeze()  # what there is now stays: no collection needs to look at it in the middle of a step
    pipeline.run(depth=config.depth, ordering=output_policy(spec.ordering, config.pp))
    if trace_writer is not None:
        trace_writer.close()
    if logits is not None:
        logits.save(config.record_logits)
    transport.close()
    if isinstance(running, CapturedStage):
        running.close()
    dist.destroy_process_group()


def _join(spec: RankSpec, device: Device, board: StatusBoard) -> tuple[Groups, StageGroup | None]:
    """Meets the other ranks, on this host or where the launcher says."""
    config, info = spec.config, spec.info
    # longer than whatever the watchdog allows: it is the one that reports, and it knows more
    timeout = timedelta(seconds=60 + config.start_timeout + config.watchdog)
    if spec.store_port is not None:
        store: dist.Store = connect_locally(spec.store_port, timeout)
    else:
        use_interface(interface_to(info.address, info.port))
        store = connect_store(info.address, info.port, info.prefix, timeout)
    return join_ranks(config, spec.rank, store=store, device=device, board=board, timeout=timeout)


def _load(
    spec: RankSpec, device: Device, shard: TensorParallelRank, stage_group: StageGroup | None
) -> tuple[Stage, KVCache]:
    """The rank's part of its stage with its weights, and the cache beside it. ValueError where they do not fit."""
    config, number, dtype = spec.config, spec.rank // spec.config.tp, select_dtype(spec.config.dtype, device)
    shape = spec.checkpoint.config()
    layers = partition_layers(shape.layers, config.pp)[number]
    ends = number == 0, number == config.pp - 1
    stage = load_stage(spec.checkpoint, shape, layers, *ends, dtype, device.torch, shard, stage_group or SINGLE_RANK)
    if config.ipex == "on":
        ipex.prepack(stage, dtype)
    part, rows, length = shard.shard_config(shape), config.cache_rows, config.context_length
    try:
        cache = KVCache(part, len(layers), rows, length, dtype, device.torch)
    except RuntimeError as error:  # out of memory, under several names
        raise ValueError(
            f"a cache of {rows} requests of {length} tokens does not fit ({error}); "
            "lower max_running_requests, max_batch, depth or context_length"
        ) from None
    return stage, cache


def _scheduler(config: EngineConfig) -> Scheduler:
    return Scheduler(
        slots=config.slots,
        max_batch=config.max_batch,
        rows=config.cache_rows,
        chunk=config.chunked_prefill_size,
        fill=config.batch_fill,
    )


def _trace_writer(spec: RankSpec, device: Device) -> TraceWriter | None:
    folder = spec.config.trace
    if folder is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)  # on another node than the engine's, unless the nodes share it
    return TraceWriter(folder, spec.rank, event=None if device.is_host else device.timed_event)
