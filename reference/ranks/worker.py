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

from model.pipelines.serving import CONTROL, DATA
from model.pipelines.tensor_parallel import STAGE_CONTROL, STAGE_DATA
from model.rings.orderings import output_policy
from reference.checkpoint.loader import Source, load_stage
from reference.config import EngineConfig
from reference.device import HOST, HOST_BACKEND, select_device, select_dtype
from reference.llama import ipex
from reference.llama.config import partition_layers
from reference.llama.graph_runner import CapturedStage, select_runner
from reference.llama.kv_cache import KVCache
from reference.llama.tensor_parallel import ALONE, Shard
from reference.pipeline.driver import Clients, Pipeline
from reference.ranks.processes import end_with_parent, keep_memory, speak_on_stderr
from reference.ranks.torchrun import Place
from reference.scheduling.batch import ScheduleBatch
from reference.scheduling.messages import decode_input, encode_tokens
from reference.scheduling.request import NewToken, SchedulerInput
from reference.scheduling.scheduler import Scheduler
from reference.transport.host_staged import HostStaged
from reference.transport.shared_memory import Rings
from reference.transport.stage_group import GroupLost, StageGroup, join_stage
from reference.transport.torch_distributed import PeerLost, Transport, join, meet_locally, use_interface
from reference.verification import status_board as phases
from reference.verification.status_board import Board
from reference.verification.trace_writer import Recorder

READY, TOKENS, FAILED = "ready", "tokens", "failed"
"""What a rank says to the engine: JSON objects whose only key is one of these."""

USAGE, LOST, CRASH = "usage", "lost", "crash"
"""Kinds of failure: the user's mistake, a connection that broke (so another rank is to blame), anything else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """All that a rank is told when its process starts. `ordering` is the policy's name, already chosen; `place`
    says which of its host's processes it is."""

    rank: int
    config: EngineConfig
    ordering: str
    source: Source
    place: Place
    store_port: int | None = None  # on this host; None where a launcher has a store
    rings: Rings | None = None  # where messages go through memory that ranks share


class PipeClients:
    """The clients of rank 0: the engine at the other end of a pipe."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._poll = select.poll()  # the pipe's own way to ask costs ten times as much, in every iteration
        self._poll.register(pipe.fileno(), select.POLLIN)

    def poll(self, wait: float) -> SchedulerInput:
        """What arrived since the last call. Raises EOFError once the engine is gone."""
        arrivals = SchedulerInput()
        while self._poll.poll(1000 * wait):
            arrivals += decode_input(self._pipe.recv_bytes())
            wait = 0.0
        return arrivals

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


def main(given: Assignment, board: Board, pipe: Connection) -> None:
    """The process of a rank that the engine started."""
    end_with_parent()
    speak_on_stderr()  # what the user reads is for the engine alone
    run(given, board, pipe, PipeClients(pipe) if given.rank == 0 else None)


def run(given: Assignment, board: Board, pipe: Voice, clients: Clients | None = None) -> None:
    """A rank's work. It returns after a stop, and exits with 1 after a failure, of which it tells first."""
    try:
        serve(given, board, pipe, clients)
    except ValueError as error:
        fail(pipe, USAGE, str(error))
    except (PeerLost, GroupLost, dist.DistError) as error:
        fail(pipe, LOST, str(error))
    except Exception:
        fail(pipe, CRASH, traceback.format_exc())
    board.enter(given.rank, phases.END)


def fail(pipe: Voice, kind: str, text: str) -> None:
    """Tells the engine why this rank ends, and ends it."""
    with suppress(OSError):  # the engine is gone too
        say(pipe, FAILED, {"kind": kind, "text": text})
    raise SystemExit(1)


def serve(given: Assignment, board: Board, pipe: Voice, clients: Clients | None) -> None:
    """Joins the others, loads the stage, and runs the loop to its end."""
    config, rank = given.config, given.rank
    number, shard = rank // config.tp, Shard(rank=rank % config.tp, size=config.tp)
    torch.set_num_threads(config.threads_of(given.place.local_ranks))
    device = select_device(config.device, given.place.local_rank, shared=config.transport != "device")
    dtype = select_dtype(config.dtype, device)
    if device.is_host:
        keep_memory()

    board.enter(rank, phases.JOIN)
    # longer than whatever the watchdog allows: it is the one that reports, and it knows more
    timeout = timedelta(seconds=60 + config.start_timeout + config.watchdog)
    if given.store_port is not None:
        store: dist.Store = meet_locally(given.store_port, timeout)
    else:
        use_interface(given.place.interface())
        store = given.place.meet(timeout)
    backends = {CONTROL: HOST_BACKEND, DATA: config.backend}
    groups = join(store=store, rank=rank, ranks=config.ranks, backends=backends, timeout=timeout)
    shared = None
    if shard.size > 1:
        backends = {STAGE_CONTROL: HOST_BACKEND, STAGE_DATA: config.backend}
        beside = join_stage(rank=rank, stages=config.pp, tp=config.tp, backends=backends, timeout=timeout)
        via_host = backends[STAGE_DATA] == HOST_BACKEND and not device.is_host
        shared = StageGroup(
            rank=rank,
            shard=shard,
            groups=beside,
            board=board,
            via_host=via_host,
            capturable=config.backend == device.backend,
        )

    board.enter(rank, phases.LOAD)
    shape = given.source.config()
    layers = partition_layers(shape.layers, config.pp)[number]
    ends = number == 0, number == config.pp - 1
    stage = load_stage(given.source, shape, layers, *ends, dtype, device.torch, shard, shared or ALONE)
    if config.ipex == "on":
        ipex.prepack(stage, dtype)
    try:
        cache = KVCache(shard.of(shape), len(layers), config.cache_rows, config.max_len, dtype, device.torch)
    except RuntimeError as error:  # out of memory, under several names
        size = f"a cache of {config.cache_rows} requests of {config.max_len} tokens"
        raise ValueError(f"{size} does not fit ({error}); lower rows, max_batch, depth or max_len") from None

    blocking = frozenset({DATA}) if config.blocking_isend else frozenset()
    transport: HostStaged | Transport
    assert (given.rings is not None) == (config.control == "shared"), "what was chosen is what there is"
    if given.rings is not None:
        rings = given.rings.group()
        ways = {CONTROL: rings, DATA: rings if config.transport == "shared" else groups[DATA]}
        staged = [comm for comm, way in ways.items() if way is rings]
        transport = HostStaged(ways, device, staged=staged, collective=DATA not in staged or shared is not None)
    elif config.transport != "device":
        transport = HostStaged(groups, device, staged={DATA}, blocking=blocking)
    else:
        transport = Transport(groups, blocking)
    recorded = config.record_logits is not None and stage.last and shard.rank == 0
    recorder = LogitsRecorder() if recorded else None
    events = None if device.is_host else device.timed_event
    if config.record is not None:  # on another node than the engine's, unless the nodes share it
        config.record.mkdir(parents=True, exist_ok=True)
    trace = None if config.record is None else Recorder(config.record, rank, event=events)
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
            chunk=config.chunk,
            fill=config.fill,
        ),
        transport=transport,
        board=board,
        clients=clients,
        observe=recorder,
        recorder=trace,
        shard=shard,
        group=shared,
        overlap=config.overlaps(on_host=device.is_host),
    )
    board.enter(rank, phases.READY)  # first: to ranks of other nodes, who may hear of it late, another bound applies
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
