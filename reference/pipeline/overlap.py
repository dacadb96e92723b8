"""Decode steps that are launched before the tokens of the step before have come to the host.

A rank that is alone has no other microbatch to give its device while the host reads an answer, tells the clients
and forms the next batch. But what the next decode step is is known, except for its tokens, and those are on
the device. So it is queued behind the one under way. Of a request that turns out to have ended, by a stop token or
because nobody waits for it any more, what was computed too much is dropped: its row of the cache is written past
its end, where whoever has the row next writes before it reads.

Source: the overlap schedule of SGLang, which postpones what comes of a step likewise.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from reference.llama.graph_runner import CapturedStage
from reference.llama.kv_cache import KVCache
from reference.llama.stage import Stage
from reference.pipeline.input_tensors import placed, token_ids
from reference.pipeline.output_copy import Landing, Landings, places_in
from reference.pipeline.output_message import answer, last_position
from reference.pipeline.sampling import upload
from reference.scheduling.batch import ScheduleBatch


class LookAhead:
    """The launches of a rank that is alone.

    plan: as `Scheduler.plan` of its slot.
    """

    def __init__(
        self,
        stage: Stage | CapturedStage,
        cache: KVCache,
        landings: Landings,
        *,
        plan: Callable[[], ScheduleBatch | None],
        observe: Callable[[ScheduleBatch, Tensor], None] | None = None,
    ) -> None:
        self._stage, self._cache, self._landings = stage, cache, landings
        self._plan, self._observe = plan, observe
        self._ahead: tuple[Landing, Tensor] | None = None  # launched already, with what the stage returned

    def launch(self, batch: ScheduleBatch) -> Landing:
        """The batch's message on its way to the host; the step after it, if it is known, is queued behind."""
        ahead, self._ahead = self._ahead, None
        landing, logits = ahead if ahead and batch.planned_ahead else self._run(batch, token_ids(batch))
        if self._observe is not None:
            self._observe(batch, last_position(landing.batch, logits)[places_in(landing.batch, batch)])
        planned = self._plan()
        if planned is not None:
            tokens_B = landing.message_N[: len(landing.batch.requests)]
            if planned.requests != landing.batch.requests:
                tokens_B = tokens_B[upload(places_in(landing.batch, planned), tokens_B.device)]
            self._ahead = self._run(planned, tokens_B[:, None])
        return landing

    def _run(self, batch: ScheduleBatch, tokens_BT: Tensor) -> tuple[Landing, Tensor]:
        logits = self._stage(tokens_BT, placed(batch), self._cache, every_position=batch.scored)
        return self._landings.start(batch, answer(batch, logits)), logits
