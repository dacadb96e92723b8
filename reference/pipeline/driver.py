"""Drives `model.pipelines.tensor_parallel` with tensors: the loop decides what a rank does next, this page does it.

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
from model.program.ops import Batch as Group
from model.program.ops import Isend, Wait
from model.rings.orderings import Ordering
from reference.config import HEARTBEAT
from reference.device import Device
from reference.llama.attention_metadata import ForwardBatch
from reference.llama.graph_runner import CapturedStage
from reference.llama.kv_cache import KVCache
from reference.llama.stage import Stage
from reference.llama.tensor_parallel import UNSHARED, TensorParallelRank
from reference.pipeline.input_tensors import placed, token_ids
from reference.pipeline.output_copy import Landing, Landings
from reference.pipeline.output_message import answer, last_position, size
from reference.pipeline.overlap import LookAhead
from reference.scheduling.batch import ScheduleBatch
from reference.scheduling.messages import decode_input, encode_input
from reference.scheduling.request import NewToken, SchedulerInput
from reference.scheduling.scheduler import Scheduler
from reference.transport.base import Transport, bytes_sent
from reference.transport.stage_group import StageGroup
from reference.verification.status_board import StatusBoard
from reference.verification.trace_writer import TraceWriter

Observer = Callable[[ScheduleBatch, Tensor], None]
"""Is shown every batch and its logits [B, V] on the last rank."""


class Clients(Protocol):
    """What rank 0 serves."""

    def poll(self, wait: float) -> SchedulerInput:
        """What arrived since the last call; waits for something for at most `wait` seconds."""

    def deliver(self, tokens: list[NewToken]) -> None:
        """Takes new tokens."""


class Pipeline:
    """One rank: its stage and cache, its scheduler, its connections. `clients` is for rank 0 only.

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
        clients: Clients | None = None,
        observe: Observer | None = None,
        shard: TensorParallelRank = UNSHARED,
        group: StageGroup | None = None,
        recorder: TraceWriter | None = None,
        overlap: bool = False,
    ) -> None:
        assert (clients is not None) == (rank == 0), "clients talk to rank 0"
        self._rank, self._stages, self._tp, self._group = rank, ranks // shard.size, shard.size, group
        self._first, self._last = stage.first, stage.last
        self._device, self._dtype, self._stage, self._cache = device, dtype, stage, cache
        self._scheduler, self._transport, self._board = scheduler, transport, board
        self._clients, self._observe, self._recorder = clients, observe, recorder
        self._landings = Landings(device)
        self._ahead: LookAhead | None = None
        if overlap:
            assert ranks == 1, "other microbatches fill the time of a pipeline"
            plan = scheduler.peek_next_decode
            self._ahead = LookAhead(stage, cache, self._landings, plan=plan, observe=observe)

        self._iteration = -1
        # for the clients; told once the device has work again, which a host cannot do beside it
        self._news: list[NewToken] = []
        self._go_on = True
        self._arrivals = SchedulerInput()
        self._batches: dict[int, ScheduleBatch] = {}
        self._placed: ForwardBatch | None = None  # the batch at hand, as the stage sees it
        self._hidden_BTH: Tensor | None = None  # of it: into the stage, then out
        self._answers_N: dict[int, Tensor] = {}  # by slot, until the last rank sends them
        # A slot takes its next batch before its last output has been passed on, so outputs are kept apart from slots.
        self._arrived: Landing | None = None
        self._held_N: Tensor | None = None

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
            if self._recorder is not None:
                self._recorder.begin(step, self._iteration)
            answer = self._do(step)
            if self._recorder is not None:
                self._recorder.end(answer)

    def _do(self, step: Step) -> bool | None:
        slot = step.slot
        match step.phase:
            case Phase.POLL:
                assert self._clients is not None
                idle = self._scheduler.idle and self._held_N is None
                if idle:
                    self._tell()
                return self._take(self._clients.poll(HEARTBEAT if idle else 0.0))
            case Phase.RECV_REQUESTS:
                return self._take(decode_input(self._message(step)))
            case Phase.SHARE_REQUESTS:
                self._shared.broadcast_bytes(encode_input(self._arrivals))
            case Phase.TAKE_REQUESTS:
                return self._take(decode_input(self._shared.broadcast_bytes(None)))
            case Phase.SEND_REQUESTS:
                self._message(step, encode_input(self._arrivals))
            case Phase.FORM:
                batch = self._scheduler.schedule(slot)
                if batch is None:
                    self._tell()
                    return False
                self._batches[slot] = batch
                self._placed = placed(batch)
                return True
            case Phase.RECV_PROXY:
                shape = (*self._batches[slot].shape, self._stage.config.hidden // self._tp)
                into = self._transport.host_recv_buffer(shape, self._dtype) if self._tp == 1 else None
                if into is None:
                    into = self._empty(*shape, dtype=self._dtype)
                assert self._placed is not None
                self._stage.prepare(self._placed)
                self._hidden_BTH = self._message(step, into)
            case Phase.GATHER_PROXY:
                assert self._hidden_BTH is not None
                self._hidden_BTH = self._shared.all_gather(self._hidden_BTH)
            case Phase.LAUNCH:
                self._launch(slot, self._batches[slot])
                self._tell()
            case Phase.AGREE_OUTPUT:
                self._answers_N[slot] = self._shared.broadcast(self._answers_N[slot])
            case Phase.SEND_PROXY:
                assert self._hidden_BTH is not None
                self._message(step, self._hidden_BTH if self._tp == 1 else self._shared.local_slice(self._hidden_BTH))
            case Phase.SEND_OUTPUT:
                with self._passing():
                    self._message(step, self._outgoing(slot))
            case Phase.RECV_OUTPUT:
                with self._aside():
                    self._arrive(slot, self._message(step, self._incoming(slot)))
            case Phase.EXCHANGE_OUTPUT:
                self._exchange(step)
            case Phase.KEEP_OUTPUT:
                if self._ahead is None:
                    self._arrived = self._landings.start(self._batches[slot], self._answers_N.pop(slot))
            case Phase.FINISH:
                self._finish(slot)
            case Phase.WAIT:
                assert isinstance(step.op, Wait)
                with self._passing() if OUTPUT in step.op.requests else nullcontext():
                    self._message(step)
        return None

    def _message(self, step: Step, *payloads: Any) -> Any:
        """Performs the step's operation; what a receive brought."""
        assert step.op is not None and None not in payloads, f"{step} without its payload"
        if self._recorder is not None:
            self._recorder.sends(bytes_sent(step.op, payloads))
        return self._transport.perform(step.op, *payloads)

    @property
    def _shared(self) -> StageGroup:
        assert self._group is not None, "nobody to share with"
        return self._group

    def _take(self, arrivals: SchedulerInput) -> bool:
        """Takes in the arrivals of this iteration; whether to go on."""
        self._arrivals = arrivals
        self._scheduler.apply(arrivals)
        self._go_on = self._go_on and not arrivals.stop
        return self._go_on

    def _launch(self, slot: int, batch: ScheduleBatch) -> None:
        """The stage's forward. It and the sends are queued on one stream, so a send needs no event of its own."""
        if self._ahead is not None:
            self._arrived = self._ahead.launch(batch)
            return
        if self._first:
            inputs = token_ids(batch)
        else:
            assert self._hidden_BTH is not None
            inputs = self._hidden_BTH
        assert self._placed is not None
        out = self._stage(inputs, self._placed, self._cache, every_position=batch.scored)
        if self._last:
            self._answers_N[slot] = answer(batch, out)
            if self._observe is not None:
                self._observe(batch, last_position(batch, out))
        else:
            self._hidden_BTH = out

    def _tell(self) -> None:
        """Tells the clients what is new."""
        if self._clients is not None and self._news:
            self._clients.deliver(self._news)
        self._news = []

    def _aside(self) -> AbstractContextManager[Any]:
        """A context in which messages wait for no forward; one that the host receives never does."""
        return nullcontext() if self._transport.recv_device else self._landings.aside()

    def _passing(self) -> AbstractContextManager[Any]:
        """The same for output messages that are sent, unless they come of a forward."""
        return nullcontext() if self._last else self._aside()

    def _outgoing(self, slot: int) -> Tensor:
        """The output to send: the last rank's own, or the one that is passed on."""
        answer_N, self._held_N = (self._answers_N.pop(slot), None) if self._last else (self._held_N, None)
        assert answer_N is not None
        return answer_N

    def _incoming(self, slot: int) -> Tensor:
        """Room for the output of a slot's batch. Where the host reads it, if the transport can put it there."""
        where = self._transport.recv_device or self._device.torch
        return torch.empty(size(self._batches[slot]), dtype=torch.int64, device=where)

    def _exchange(self, step: Step) -> None:
        """Both halves of the output phase, or one, as a group."""
        assert isinstance(step.op, Group)
        with self._passing():
            arriving = None if step.into is None else self._incoming(step.into)
            self._message(
                step, *(self._outgoing(step.slot) if isinstance(part, Isend) else arriving for part in step.op.ops)
            )
        if arriving is not None:
            assert step.into is not None
            self._arrive(step.into, arriving, aside=not self._last)

    def _arrive(self, slot: int, answer_N: Tensor, *, aside: bool = True) -> None:
        """Starts to copy a slot's answer to the host. aside: it was received there."""
        self._arrived = self._landings.start(self._batches[slot], answer_N, received=aside)

    def _finish(self, slot: int) -> None:
        """Gives what came back of a batch to the scheduler, and keeps it to be passed on."""
        assert self._arrived is not None
        arrived, self._arrived = self._arrived, None
        self._news += self._scheduler.process_output(slot, *arrived.read(self._batches.pop(slot)))
        if self._device.is_host:
            self._tell()
        if not self._last:
            self._held_N = arrived.message_N

    def _empty(self, *shape: int, dtype: torch.dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=self._device.torch)
