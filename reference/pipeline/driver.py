"""Drives `model.pipelines.tensor_parallel` with tensors: the loop decides what a rank does next, this file does it.

Shapes: B requests of a microbatch, T new tokens of each (padded), H hidden size, V vocabulary, N numbers of an
output message (see `reference.pipeline.output_message`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor

from model.pipelines.serving import OUTPUT, Phase, Step
from model.pipelines.tensor_parallel import grid_loop
from model.program.ops import Batch, Isend, Wait
from model.rings.orderings import Ordering
from reference.config import HEARTBEAT
from reference.device import Device
from reference.llama.attention_metadata import ForwardBatch
from reference.llama.graph_runner import CapturedStage
from reference.llama.kv_cache import KVCache
from reference.llama.stage import Stage
from reference.llama.tensor_parallel import UNSHARED, TensorParallelRank
from reference.pipeline.input_tensors import forward_batch, input_ids
from reference.pipeline.output_copy import OutputCopier, PendingOutput
from reference.pipeline.output_message import encode_output, last_token_logits, output_len
from reference.pipeline.overlap import OverlapRunner
from reference.scheduling.batch import ScheduleBatch
from reference.scheduling.messages import decode_input, says_stop
from reference.scheduling.request import NewToken
from reference.scheduling.scheduler import Scheduler
from reference.transport.base import Transport, bytes_sent
from reference.transport.stage_group import StageGroup
from reference.verification.status_board import StatusBoard
from reference.verification.trace_writer import TraceWriter

Observer = Callable[[ScheduleBatch, Tensor], None]
"""Is shown every batch and its logits [B, V] on the last rank."""


class Frontend(Protocol):
    """What rank 0 serves."""

    def poll(self, wait: float) -> bytes:
        """What arrived since the last call, as `encode_input` has it; waits for at most `wait` seconds."""

    def deliver(self, tokens: list[NewToken]) -> None:
        """Takes new tokens."""


class Pipeline:
    """One rank: its stage and cache, its scheduler, its connections. `frontend` is for rank 0 only.

    rank, ranks: of all. shard, group: the rank's part of its stage, and the ranks that share it, if any do.
    overlap: whether decode steps are launched ahead; of a rank that is alone, with one slot.
    """

    def __init__(
        self,
        *,
        rank: int,
        ranks: int,
        device: Device,
        dtype: torch.dtype,
        stage: Stage | CapturedStage,
        cache: KVCache,
        scheduler: Scheduler,
        transport: Transport,
        board: StatusBoard,
        frontend: Frontend | None = None,
        observe: Observer | None = None,
        shard: TensorParallelRank = UNSHARED,
        group: StageGroup | None = None,
        trace_writer: TraceWriter | None = None,
        overlap: bool = False,
    ) -> None:
        assert (frontend is not None) == (rank == 0), "rank 0 has the frontend"
        self._rank, self._stages, self._tp, self._group = rank, ranks // shard.size, shard.size, group
        self._first, self._last = stage.first, stage.last
        self._device, self._dtype, self._stage, self._cache = device, dtype, stage, cache
        self._scheduler, self._transport, self._board = scheduler, transport, board
        self._frontend, self._observe, self._trace_writer = frontend, observe, trace_writer
        self._copier = OutputCopier(device)
        self._ahead: OverlapRunner | None = None
        if overlap:
            assert ranks == 1, "other microbatches fill the time of a pipeline"
            plan = scheduler.peek_next_decode
            self._ahead = OverlapRunner(stage, cache, self._copier, plan=plan, observe=observe)

        self._iteration = -1
        # for the clients; told once the device has work again, which a host cannot do beside it
        self._news: list[NewToken] = []
        self._go_on = True
        self._input = b""  # what arrived in this iteration, as it came
        self._batches: dict[int, ScheduleBatch] = {}
        self._forward_batch: ForwardBatch | None = None  # the batch at hand, as the stage sees it
        self._hidden_BTH: Tensor | None = None  # of it: into the stage, then out
        self._outputs_N: dict[int, Tensor] = {}  # by slot, until the last rank sends them
        # A slot takes its next batch before its last output has been passed on, so outputs are kept apart from slots.
        self._pending_output: PendingOutput | None = None
        self._relay_N: Tensor | None = None

    @torch.inference_mode()
    def run(self, *, depth: int, ordering: Ordering) -> None:
        """Serves until told to stop and everything in flight is finished. Raises PeerLost."""
        loop = grid_loop(rank=self._rank, stages=self._stages, tp=self._tp, depth=depth, ordering=ordering)
        answer: bool | None = None
        while True:
            try:
                step = loop.send(answer)
            except StopIteration:
                return
            if step.phase in (Phase.POLL, Phase.RECV_REQUESTS, Phase.TAKE_REQUESTS):
                self._iteration += 1
            peer = None if step.op is None else self._transport.waits_for(step.op)
            self._board.begin_step(
                self._rank, step.phase, step.op, waits_for=peer, slot=step.slot, iteration=self._iteration
            )
            if self._trace_writer is not None:
                self._trace_writer.begin(step, self._iteration)
            answer = self._do(step)
            if self._trace_writer is not None:
                self._trace_writer.end(answer)

    def _do(self, step: Step) -> bool | None:
        slot = step.slot
        match step.phase:
            case Phase.POLL:
                assert self._frontend is not None
                idle = self._scheduler.idle and self._relay_N is None
                if idle:
                    self._deliver()
                return self._receive(self._frontend.poll(HEARTBEAT if idle else 0.0))
            case Phase.RECV_REQUESTS:
                return self._receive(self._message(step))
            case Phase.SHARE_REQUESTS:
                self._stage_group.broadcast_bytes(self._input)
            case Phase.TAKE_REQUESTS:
                return self._receive(self._stage_group.broadcast_bytes(None))
            case Phase.SEND_REQUESTS:
                self._message(step, self._input)
            case Phase.FORM:
                if self._input:
                    self._scheduler.apply(decode_input(self._input))
                batch = self._scheduler.schedule(slot)
                if batch is None:
                    self._deliver()
                    return False
                self._batches[slot] = batch
                self._forward_batch = forward_batch(batch)
                return True
            case Phase.RECV_PROXY:
                shape = (*self._batches[slot].shape, self._stage.config.hidden // self._tp)
                into = self._transport.host_recv_buffer(shape, self._dtype) if self._tp == 1 else None
                if into is None:
                    into = self._empty(*shape, dtype=self._dtype)
                assert self._forward_batch is not None
                self._stage.prepare(self._forward_batch)
                self._hidden_BTH = self._message(step, into)
            case Phase.GATHER_PROXY:
                assert self._hidden_BTH is not None
                self._hidden_BTH = self._stage_group.all_gather(self._hidden_BTH)
            case Phase.LAUNCH:
                self._launch(slot, self._batches[slot])
                self._deliver()
            case Phase.AGREE_OUTPUT:
                self._outputs_N[slot] = self._stage_group.broadcast(self._outputs_N[slot])
            case Phase.SEND_PROXY:
                assert self._hidden_BTH is not None
                self._message(
                    step, self._hidden_BTH if self._tp == 1 else self._stage_group.local_slice(self._hidden_BTH)
                )
            case _:
                self._do_output(step)
        return None

    def _do_output(self, step: Step) -> None:
        """The steps that move outputs, and the waits."""
        slot = step.slot
        match step.phase:
            case Phase.SEND_OUTPUT:
                with self._send_stream():
                    self._message(step, self._outgoing(slot))
            case Phase.RECV_OUTPUT:
                with self._recv_stream():
                    self._start_copy(slot, self._message(step, self._incoming(slot)))
            case Phase.EXCHANGE_OUTPUT:
                self._exchange(step)
            case Phase.KEEP_OUTPUT:
                if self._ahead is None:
                    self._pending_output = self._copier.start(self._batches[slot], self._outputs_N.pop(slot))
            case Phase.FINISH:
                self._finish(slot)
            case Phase.WAIT:
                assert isinstance(step.op, Wait)
                with self._send_stream() if OUTPUT in step.op.requests else nullcontext():
                    self._message(step)

    def _message(self, step: Step, *payloads: Any) -> Any:
        """Performs the step's operation; what a receive brought."""
        assert step.op is not None and None not in payloads, f"{step} without its payload"
        if self._trace_writer is not None:
            self._trace_writer.sends(bytes_sent(step.op, payloads))
        return self._transport.perform(step.op, *payloads)

    @property
    def _stage_group(self) -> StageGroup:
        assert self._group is not None, "the rank has its stage to itself"
        return self._group

    def _receive(self, message: bytes) -> bool:
        """Keeps what arrived in this iteration, to be passed on before it is read; whether to go on."""
        self._input = message
        self._go_on = self._go_on and not says_stop(message)
        return self._go_on

    def _launch(self, slot: int, batch: ScheduleBatch) -> None:
        """The stage's forward. It and the sends are queued on one stream, so a send needs no event of its own."""
        if self._ahead is not None:
            self._pending_output = self._ahead.launch(batch)
            return
        if self._first:
            inputs = input_ids(batch)
        else:
            assert self._hidden_BTH is not None
            inputs = self._hidden_BTH
        assert self._forward_batch is not None
        out = self._stage(inputs, self._forward_batch, self._cache, every_position=batch.scored)
        if self._last:
            self._outputs_N[slot] = encode_output(batch, out)
            if self._observe is not None:
                self._observe(batch, last_token_logits(batch, out))
        else:
            self._hidden_BTH = out

    def _deliver(self) -> None:
        """Tells the clients what is new."""
        if self._frontend is not None and self._news:
            self._frontend.deliver(self._news)
        self._news = []

    def _recv_stream(self) -> AbstractContextManager[Any]:
        """A context in which messages wait for no forward; one that the host receives never does."""
        return nullcontext() if self._transport.recv_device else self._copier.on_copy_stream()

    def _send_stream(self) -> AbstractContextManager[Any]:
        """The same for output messages that are sent, unless they come of a forward."""
        return nullcontext() if self._last else self._recv_stream()

    def _outgoing(self, slot: int) -> Tensor:
        """The output to send: the last rank's own, or the one that is passed on."""
        output_N, self._relay_N = (self._outputs_N.pop(slot), None) if self._last else (self._relay_N, None)
        assert output_N is not None
        return output_N

    def _incoming(self, slot: int) -> Tensor:
        """Room for the output of a slot's batch. Where the host reads it, if the transport can put it there."""
        where = self._transport.recv_device or self._device.torch
        return torch.empty(output_len(self._batches[slot]), dtype=torch.int64, device=where)

    def _exchange(self, step: Step) -> None:
        """Both halves of the output phase, or one, as a group."""
        assert isinstance(step.op, Batch)
        with self._send_stream():
            arriving = None if step.into is None else self._incoming(step.into)
            self._message(
                step, *(self._outgoing(step.slot) if isinstance(part, Isend) else arriving for part in step.op.ops)
            )
        if arriving is not None:
            assert step.into is not None
            self._start_copy(step.into, arriving, aside=not self._last)

    def _start_copy(self, slot: int, output_N: Tensor, *, aside: bool = True) -> None:
        """Starts to copy a slot's output to the host. aside: it was received on the copy stream."""
        self._pending_output = self._copier.start(self._batches[slot], output_N, received=aside)

    def _finish(self, slot: int) -> None:
        """Gives what came back of a batch to the scheduler, and keeps it to be passed on."""
        assert self._pending_output is not None
        arrived, self._pending_output = self._pending_output, None
        self._news += self._scheduler.process_output(slot, *arrived.decode(self._batches.pop(slot)))
        if self._device.is_host:
            self._deliver()
        if not self._last:
            self._relay_N = arrived.message_N

    def _empty(self, *shape: int, dtype: torch.dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=self._device.torch)
