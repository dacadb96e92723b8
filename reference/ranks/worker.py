"""The process of one rank, from its start to its end, and what it tells the engine."""

from __future__ import annotations

import gc
import json
import select
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from model.rings.orderings import output_policy
from reference.checkpoint.loader import Checkpoint, load_stage
from reference.config import EngineConfig
from reference.device import HOST, select_device, select_dtype
from reference.llama import ipex
from reference.llama.config import partition_layers
from reference.llama.graph_runner import CapturedStage, select_runner
from reference.llama.kv_cache import KVCache
from reference.llama.tensor_parallel import SINGLE_RANK, TensorParallelRank
from reference.pipeline.driver import Frontend, Pipeline
from reference.ranks.processes import end_with_parent, keep_memory, speak_on_stderr
from reference.ranks.torchrun import RankInfo
from reference.scheduling.batch import ScheduleBatch
from reference.scheduling.messages import encode_tokens, join_inputs
from reference.scheduling.request import NewToken
from reference.scheduling.scheduler import Scheduler
from reference.transport.base import CollectiveFailed, PeerLost
from reference.transport.rendezvous import (
    connect_locally,
    connect_store,
    interface_to,
    join_ranks,
    make_transport,
    use_interface,
)
from reference.transport.shared_memory import RingSet
from reference.verification import status_board as phases
from reference.verification.status_board import StatusBoard
from reference.verification.trace_writer import TraceWriter

READY, TOKENS, FAILED = "ready", "tokens", "failed"
"""What a rank says to the engine: JSON objects whose only key is one of these."""

USAGE, LOST, CRASH = "usage", "lost", "crash"
"""Kinds of failure: the user's mistake, a connection that broke (so another rank is to blame), anything else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """All that a rank is told when its process starts. `ordering` is the policy's name, already chosen; `info`
    says which of its host's processes it is."""

    rank: int
    config: EngineConfig
    ordering: str
    checkpoint: Checkpoint
    info: RankInfo
    store_port: int | None = None  # on this host; None where a launcher has a store
    rings: RingSet | None = None  # where messages go through memory that ranks share


class PipeFrontend:
    """The clients of rank 0: the engine at the other end of a pipe."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._poll = select.poll()  # the pipe's own way to ask costs ten times as much, in every iteration
        self._poll.register(pipe.fileno(), select.POLLIN)

    def poll(self, wait: float) -> bytes:
        """What arrived since the last call, as it came. Raises EOFError once the engine is gone."""
        messages = []
        while self._poll.poll(1000 * wait):
            messages.append(self._pipe.recv_bytes())
            wait = 0.0
        return join_inputs(messages)

    def deliver(self, tokens: list[NewToken]) -> None:
        """Sends new tokens to the engine."""
        say(self._pipe, TOKENS, encode_tokens(tokens))


class LogitsRecorder:
    """Keeps every batch's logits, on the host."""

    def __init__(self) -> None:
        self._batches: list[dict[str, Any]] = []

    def __call__(self, batch: ScheduleBatch, logits_BV: Tensor) -> None:
        self._batches.append({"requests": batch.ids, "starts": batch.starts, "logits": logits_BV.to(HOST, copy=True)})

    def save(self, path: Any) -> None:
        """Writes a list with, for each batch, the ids of its requests, their positions and logits [B, V]."""
        torch.save(self._batches, path)


class Voice(Protocol):
    """A way to the engine: a pipe, or where that is elsewhere a `reference.ranks.multi_node.Beacon`."""

    def send_bytes(self, data: bytes) -> None:
        """Sends one message. Raises OSError where the engine is gone."""


def say(pipe: Voice, key: str, value: Any) -> None:
    """One message to the engine."""
    pipe.send_bytes(json.dumps({key: value}).encode())


def hear(pipe: Connection) -> tuple[str, Any]:
    """One message of a rank: its key and value. Raises EOFError where the rank is gone."""
    message: Mapping[str, Any] = json.loads(pipe.recv_bytes())
    ((key, value),) = message.items()
    return key, value


def main(given: Assignment, board: StatusBoard, pipe: Connection) -> None:
    """The process of a rank that the engine started."""
    end_with_parent()
    speak_on_stderr()  # what the user reads is for the engine alone
    run(given, board, pipe, PipeFrontend(pipe) if given.rank == 0 else None)


def run(given: Assignment, board: StatusBoard, pipe: Voice, frontend: Frontend | None = None) -> None:
    """A rank's work. It returns after a stop, and exits with 1 after a failure, of which it tells first."""
    try:
        serve(given, board, pipe, frontend)
    except ValueError as error:
        fail(pipe, USAGE, str(error))
    except (PeerLost, CollectiveFailed, dist.DistError) as error:
        fail(pipe, LOST, str(error))
    except Exception:
        fail(pipe, CRASH, traceback.format_exc())
    board.begin_step(given.rank, phases.PHASE_END)


def fail(pipe: Voice, kind: str, text: str) -> None:
    """Tells the engine why this rank ends, and ends it."""
    with suppress(OSError):  # the engine is gone too
        say(pipe, FAILED, {"kind": kind, "text": text})
    raise SystemExit(1)


def serve(given: Assignment, board: StatusBoard, pipe: Voice, frontend: Frontend | None) -> None:
    """Joins the others, loads the stage, and runs the loop to its end."""
    config, rank, info = given.config, given.rank, given.info
    number, shard = rank // config.tp, TensorParallelRank(rank=rank % config.tp, size=config.tp)
    torch.set_num_threads(config.threads_per_rank(info.local_ranks))
    device = select_device(config.device, info.local_rank, shared=config.transport != "device")
    dtype = select_dtype(config.dtype, device)
    if device.is_host:
        keep_memory()

    board.begin_step(rank, phases.PHASE_JOIN)
    # longer than whatever the watchdog allows: it is the one that reports, and it knows more
    timeout = timedelta(seconds=60 + config.start_timeout + config.watchdog)
    if given.store_port is not None:
        store: dist.Store = connect_locally(given.store_port, timeout)
    else:
        use_interface(interface_to(info.address, info.port))
        store = connect_store(info.address, info.port, info.prefix, timeout)
    groups, stage_group = join_ranks(config, rank, store=store, device=device, board=board, timeout=timeout)

    board.begin_step(rank, phases.PHASE_LOAD)
    shape = given.checkpoint.config()
    layers = partition_layers(shape.layers, config.pp)[number]
    ends = number == 0, number == config.pp - 1
    stage = load_stage(given.checkpoint, shape, layers, *ends, dtype, device.torch, shard, stage_group or SINGLE_RANK)
    if config.ipex == "on":
        ipex.prepack(stage, dtype)
    try:
        cache = KVCache(
            shard.shard_config(shape), len(layers), config.cache_rows, config.context_length, dtype, device.torch
        )
    except RuntimeError as error:  # out of memory, under several names
        size = f"a cache of {config.cache_rows} requests of {config.context_length} tokens"
        raise ValueError(
            f"{size} does not fit ({error}); lower max_running_requests, max_batch, depth or context_length"
        ) from None

    transport = make_transport(config, device, groups, given.rings)
    recorded = config.record_logits is not None and stage.last and shard.rank == 0
    recorder = LogitsRecorder() if recorded else None
    events = None if device.is_host else device.timed_event
    if config.record is not None:  # on another node than the engine's, unless the nodes share it
        config.record.mkdir(parents=True, exist_ok=True)
    trace = None if config.record is None else TraceWriter(config.record, rank, event=events)
    running = select_runner(stage, cache, device, choice=config.decode, most=config.max_batch)
    pipeline = Pipeline(
        rank=rank,
        ranks=config.ranks,
        device=device,
        dtype=dtype,
        stage=running,
        cache=cache,
        scheduler=Scheduler(
            slots=config.slots,
            max_batch=config.max_batch,
            rows=config.cache_rows,
            chunk=config.chunked_prefill_size,
            fill=config.batch_fill,
        ),
        transport=transport,
        board=board,
        frontend=frontend,
        observe=recorder,
        trace_writer=trace,
        shard=shard,
        group=stage_group,
        overlap=config.overlaps(on_host=device.is_host),
    )
    board.begin_step(
        rank, phases.PHASE_READY
    )  # first: to ranks of other nodes, who may hear of it late, another bound applies
    say(pipe, READY, None)
    gc.collect()
    gc.freeze()  # what there is now stays: no collection needs to look at it in the middle of a step
    pipeline.run(depth=config.depth, ordering=output_policy(given.ordering, config.pp))
    if trace is not None:
        trace.close()
    if recorder is not None:
        recorder.save(config.record_logits)
    transport.close()
    if isinstance(running, CapturedStage):
        running.close()
    dist.destroy_process_group()
