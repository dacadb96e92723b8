"""Decode steps that are launched before the tokens of the step before have come to the host.

A rank that is alone has no other microbatch to give its device while the host reads an answer, tells the clients
and forms the next batch. But what the next decode step is is known, except for its tokens, and those are on
the device. So it is queued behind the one under way. Of a request that turns out to have ended, by a stop token or
because nobody waits for it any more, what was computed too much is dropped: its row of the cache is written past
its end, where whoever has the row next writes before it reads.

Source: the overlap schedule of SGLang, which postpones what comes of a step likewise.

Shapes: B requests of a batch, T new tokens of each (1 in a decode step).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from reference.llama.graph_runner import CapturedStage
from reference.llama.kv_cache import KVCache
from reference.llama.stage import Stage
from reference.pipeline.input_tensors import forward_batch, input_ids
from reference.pipeline.output_copy import OutputCopier, PendingOutput, indices_in
from reference.pipeline.output_message import encode_output, last_token_logits
from reference.pipeline.sampling import to_device
from reference.scheduling.batch import ScheduleBatch


class OverlapRunner:
    """The launches of a rank that is alone.

    plan: as `Scheduler.peek_next_decode` of its slot.
    """

    def __init__(
        self,
        stage: Stage | CapturedStage,
        cache: KVCache,
        copier: OutputCopier,
        *,
        plan: Callable[[], ScheduleBatch | None],
        observe: Callable[[ScheduleBatch, Tensor], None] | None = None,
    ) -> None:
        self._stage, self._cache, self._copier = stage, cache, copier
        self._plan, self._observe = plan, observe
        self._ahead: tuple[PendingOutput, Tensor] | None = None  # launched already, with what the stage returned

    def launch(self, batch: ScheduleBatch) -> PendingOutput:
        """The batch's message on its way to the host; the step after it, if it is known, is queued behind."""
        ahead, self._ahead = self._ahead, None
        pending, logits = ahead if ahead and batch.planned_ahead else self._run(batch, input_ids(batch))
        if self._observe is not None:
            self._observe(batch, last_token_logits(pending.batch, logits)[indices_in(pending.batch, batch)])
        planned = self._plan()
        if planned is not None:
            tokens_B = pending.message_N[: len(pending.batch.requests)]
            if planned.requests != pending.batch.requests:
                tokens_B = tokens_B[to_device(indices_in(pending.batch, planned), tokens_B.device)]
            self._ahead = self._run(planned, tokens_B[:, None])
        return pending

    def _run(self, batch: ScheduleBatch, tokens_BT: Tensor) -> tuple[PendingOutput, Tensor]:
        logits = self._stage(tokens_BT, forward_batch(batch), self._cache, every_position=batch.scored)
        return self._copier.start(batch, encode_output(batch, logits)), logits
