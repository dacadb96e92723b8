"""The engine: a pipeline of processes behind a generator of tokens.

from reference import Engine, EngineConfig

if __name__ == "__main__":  # in a script; its ranks are processes that import it again
    with Engine(EngineConfig(model="smollm2", pp=3)) as engine:
        for output in engine.generate(["The capital of France is"], max_new_tokens=8):
            print(output.text, end="")
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import cached_property, partial
from queue import SimpleQueue
from types import TracebackType

from reference.checkpoint.chat_template import ChatTemplate
from reference.checkpoint.tokenizer import TextTokenizer
from reference.config import EngineConfig
from reference.engine.input_processor import InputProcessor
from reference.engine.output_processor import OutputCallback, OutputProcessor, OutputStream, RequestHandle
from reference.engine.outputs import EngineStats, TokenOutput
from reference.engine.plan import make_plan, trace_header
from reference.ranks import ipc, processes
from reference.ranks.multi_node import report_startup_error
from reference.ranks.supervisor import start
from reference.ranks.torchrun import rank_info
from reference.scheduling.messages import decode_tokens, encode_input
from reference.scheduling.request import SchedulerInput
from reference.scheduling.sampling_params import QueueFull, SamplingParams
from reference.verification import trace_merge

__all__ = ["Engine", "EngineStats", "QueueFull", "RequestHandle", "SamplingParams", "TokenOutput"]


class Engine:
    """A pipeline that starts with the `with` block and is gone after it.

    Making one raises ValueError for what cannot work: unknown names, more stages than layers, a deadlock that
    the model sees ahead (`DeadlockPredicted`). Entering it, and taking tokens from it, raise ValueError for a
    checkpoint that a rank could not read, `PipelineStalled`, and `RankDied`; then every process has ended.

    In a job of torchrun's (see `ranks.torchrun`) every process makes the same engine. On rank 0 it is as ever; a
    process of another rank serves when it enters the block, and exits there, when the engine on rank 0 ends.
    """

    @report_startup_error()
    def __init__(self, config: EngineConfig) -> None:
        self.job = rank_info()
        plan = make_plan(config, self.job)
        self.config, self.transport, self.device = plan.config, plan.transport, plan.transport.device
        self.checkpoint, self.shape, self.layers, self.ipex = plan.checkpoint, plan.shape, plan.layers, plan.ipex
        self.semantics, self.ordering, self.prediction = plan.semantics, plan.ordering, plan.prediction
        self._input_processor = InputProcessor(
            tokenizer=lambda: self.tokenizer,
            shape=self.shape,
            context_length=self.config.context_length,
            seed=config.seed,
        )
        self._outbox: SimpleQueue[SchedulerInput | RequestHandle | None] = SimpleQueue()
        self._output_processor = OutputProcessor(
            send=self._outbox.put,
            capacity=min(config.cache_rows, config.slots * config.max_batch),
            max_queued_requests=config.max_queued_requests,
            closed=RuntimeError("the engine has not started; use it in a with block"),
        )
        self._failure: Exception | None = None
        self._ready: SimpleQueue[Exception | None] = SimpleQueue()

    @cached_property
    def tokenizer(self) -> TextTokenizer:
        """The checkpoint's tokenizer; ValueError where it has none."""
        return self.checkpoint.tokenizer()

    @cached_property
    def chat_template(self) -> ChatTemplate:
        """The checkpoint's chat template; ValueError where it has none."""
        return self.checkpoint.chat_template()

    @property
    def failure(self) -> Exception | None:
        """What broke the pipeline, if anything did."""
        return self._failure

    @property
    def pids(self) -> tuple[int, ...]:
        """The process of each rank."""
        return self._ranks.pids

    def __enter__(self) -> Engine:
        if self.config.trace is not None and (self.job is None or self.job.rank == 0):
            header = trace_header(self.config, self.transport, ordering=self.ordering.name, data=self.semantics)
            trace_merge.prepare_folder(self.config.trace, header)
        self._receiver = threading.Thread(target=self._recv_loop, name="engine receive", daemon=True)
        try:
            self._start()
            failure = self._ready.get()
        except BaseException:
            if self._receiver.ident is not None:
                self._end(at_once=True)
            raise
        if failure is not None:
            self._receiver.join()
            raise failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        known = self._failure
        self._end(at_once=error is not None)
        if error is None and known is None and self._failure is not None:
            raise self._failure

    def generate(
        self,
        prompts: Sequence[str | Sequence[int]],
        max_new_tokens: int = 16,
        *,
        ignore_eos: bool = False,
        params: SamplingParams | Sequence[SamplingParams] | None = None,
    ) -> OutputStream:
        """Continues prompts (texts or token ids), all at once; tokens come as they are made.

        params, where given, say all, and the two arguments before count no more. Raises as `submit` does. When
        what it returns is closed early its requests are aborted.
        """
        if params is None:
            params = SamplingParams(max_new_tokens=max_new_tokens, ignore_eos=ignore_eos)
        return OutputStream(len(prompts), partial(self.submit, prompts, params), self._outbox.put)

    def submit(
        self,
        prompts: Sequence[str | Sequence[int]],
        params: SamplingParams | Sequence[SamplingParams],
        callback: OutputCallback,
    ) -> RequestHandle:
        """Begins to continue prompts (texts or token ids), and returns at once. Any thread may call it.

        params: for all prompts, or one for each. `callback` is told every token on a thread of the engine's, perhaps
        before this returns, and must not block; an exception that it is told is the last thing it hears, and
        where it raises one the requests are aborted. Without a tokenizer the prompts must be token ids, and the
        outputs have no text.

        Raises, before any request enters: ValueError where one cannot be served, QueueFull where too many
        wait, and why the engine is down where it is.
        """
        requests, texts = self._input_processor.process(prompts, params)
        return self._output_processor.add(requests, texts, callback)

    def stats(self) -> EngineStats:
        """Whether the engine is well, and how busy."""
        # there are no ranks before the with block
        idle_seconds = self._ranks.idle_seconds if hasattr(self, "_ranks") else 0.0
        return replace(self._output_processor.stats(), idle_seconds=idle_seconds)

    def is_idle(self) -> bool:
        """Whether nothing is under way. Nothing is cached between requests, so there is nothing to drop."""
        now = self._output_processor.stats()
        return now.running + now.waiting == 0

    def _start(self) -> None:
        """Starts the ranks, and the threads that talk with them. An interrupt between would leave ranks unheard."""
        with processes.block_sigint() if self.job is None else nullcontext():
            self._ranks = start(self.job, config=self.config, ordering=self.ordering.name, checkpoint=self.checkpoint)
            self._output_processor.reject_new(None)
            self._receiver.start()
        threading.Thread(target=self._send_loop, name="engine send", daemon=True).start()

    def _send_loop(self) -> None:
        """Passes requests and aborts to rank 0, which may be slow to take them: nobody else waits for it."""
        while (item := self._outbox.get()) is not None:
            if isinstance(item, RequestHandle):
                item.cancel()
                continue
            with suppress(OSError):  # rank 0 is gone: `_recv_loop` says why
                self._ranks.send(encode_input(item))

    def _recv_loop(self) -> None:
        """Hands on what the ranks say, until they have ended."""
        waiting = set(range(self.config.ranks))
        try:
            for rank, key, value in self._ranks.listen():
                if key == ipc.READY:
                    waiting.discard(rank)
                    if not waiting:
                        self._ready.put(None)
                elif key == ipc.TOKENS:
                    self._output_processor.dispatch(decode_tokens(value), time.perf_counter())
        except Exception as error:
            self._failure = error
        self._merge_trace()
        ended = self._failure or RuntimeError("the engine has ended; make a new one")
        self._output_processor.close(ended)
        self._outbox.put(None)
        self._ready.put(ended)

    def _merge_trace(self) -> None:
        """Merges what the ranks recorded, once they have ended."""
        if self.config.trace is None:
            return
        note = "" if self._failure is None else str(self._failure).splitlines()[0]
        try:
            trace_merge.merge(self.config.trace, note)
        except (OSError, ValueError) as error:
            self._failure = self._failure or error

    def _end(self, *, at_once: bool) -> None:
        """Ends the ranks: lets them finish what is in flight, or not."""
        try:
            if at_once:
                self._ranks.quit()
            else:
                self._output_processor.reject_new(RuntimeError("the engine is ending; make a new one"))
                self._outbox.put(SchedulerInput(stop=True))
            self._receiver.join()
        except BaseException:  # a second Ctrl-C
            self._ranks.quit()
            raise
