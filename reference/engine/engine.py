"""The engine: a pipeline of processes behind a generator of tokens.

from reference.config import EngineConfig
from reference.engine.engine import Engine

if __name__ == "__main__":  # in a script; its ranks are processes that import it again
    with Engine(EngineConfig(model="smollm2", pp=3)) as engine:
        for output in engine.generate(["The capital of France is"], max_new_tokens=8):
            print(output.text, end="")
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import cached_property, partial
from operator import index
from queue import SimpleQueue
from random import Random
from types import TracebackType

from model import Result
from reference.checkpoint.chat_template import ChatTemplate
from reference.checkpoint.loader import resolve_checkpoint
from reference.checkpoint.tokenizer import TextTokenizer
from reference.config import EngineConfig
from reference.device import select_dtype
from reference.engine.input_processor import broadcast_params, check_request
from reference.engine.output_processor import Desk, Sink, Stream, Ticket
from reference.engine.outputs import Output, State, TextOut
from reference.llama.config import partition_layers
from reference.llama.ipex import use_ipex
from reference.llama.tensor_parallel import check_tp
from reference.option_checks import check_file
from reference.ranks import processes, worker
from reference.ranks.multi_node import telling
from reference.ranks.supervisor import start
from reference.ranks.torchrun import rank_info
from reference.scheduling.messages import decode_tokens, encode_input
from reference.scheduling.request import Request, SchedulerInput
from reference.scheduling.sampling_params import QueueFull, SamplingParams
from reference.transport.selection import choose_transport
from reference.verification import trace_merge as recording
from reference.verification.preflight import BLOCKING_ISEND, choose_ordering, preflight

__all__ = ["Engine", "Output", "QueueFull", "SamplingParams", "State", "Ticket"]


class Engine:
    """A pipeline that starts with the `with` block and is gone after it.

    Making one raises ValueError for what cannot work: unknown names, more stages than layers, a deadlock that
    the model sees ahead (`DeadlockPredicted`). Entering it, and taking tokens from it, raise ValueError for a
    checkpoint that a rank could not read, `PipelineStalled`, and `RankDied`; then every process has ended.

    In a job of torchrun's (see `ranks.torchrun`) every process makes the same engine. On rank 0 it is as ever; a
    process of another rank serves when it enters the block, and exits there, when the engine on rank 0 ends.
    """

    @telling()
    def __init__(self, config: EngineConfig) -> None:
        self.job = rank_info()
        if self.job is not None:
            self.job.check(config.pp, config.tp)
        self.checkpoint = resolve_checkpoint(config.model, config.load, config.seed)
        self.shape = self.checkpoint.config()
        self.layers = partition_layers(self.shape.layers, config.pp)
        check_tp(self.shape, config.tp)
        neighbours = config.ranks if self.job is None else self.job.local_ranks
        blocked_by = "an isend that blocks" if config.blocking_isend else None
        self.transport = choose_transport(
            device=config.device,
            transport=config.transport,
            backend=config.backend,
            ranks=neighbours,
            blocked_by=blocked_by if self.job is None else "a job of a launcher",
            control=config.control,
            stages=config.pp,
        )
        self.device = self.transport.device
        dtype = select_dtype(config.dtype, self.device)
        self.ipex = use_ipex(config.ipex, self.device, dtype, captured=config.decode == "captured")
        self.config = replace(
            config,
            device=self.device.kind,
            transport=self.transport.kind,
            control="shared" if self.transport.rings else "group",
            backend=self.transport.backend,
            ipex="on" if self.ipex else "off",
            context_length=min(config.context_length, self.shape.max_position),
            threads=config.threads_per_rank(neighbours),
        )
        declared = BLOCKING_ISEND if config.blocking_isend else self.transport.semantics
        self.semantics = declared if config.semantics == "auto" else config.semantics
        self.ordering = choose_ordering(
            config.ordering,
            ranks=config.pp,
            depth=config.depth,
            control=self.transport.control,
            data=self.semantics,
            tp=config.tp,
        )
        self.prediction: Result | None = None
        if config.preflight:
            self.prediction = preflight(
                ranks=config.pp,
                depth=config.depth,
                policy=self.ordering,
                control=self.transport.control,
                data=self.semantics,
                tp=config.tp,
            )
        if config.record_logits is not None:
            check_file("record_logits", config.record_logits)
        self._ids = itertools.count()
        self._seeds = Random(config.seed)  # for requests that bring none
        self._outbox: SimpleQueue[SchedulerInput | Ticket | None] = SimpleQueue()
        self._desk = Desk(
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
        if self.config.record is not None and (self.job is None or self.job.rank == 0):
            header = recording.header(self.config, self.transport, ordering=self.ordering.name, data=self.semantics)
            recording.begin(self.config.record, header)
        self._listener = threading.Thread(target=self._listen, name="engine", daemon=True)
        try:
            self._start()
            failure = self._ready.get()
        except BaseException:
            if self._listener.ident is not None:
                self._end(at_once=True)
            raise
        if failure is not None:
            self._listener.join()
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
    ) -> Stream:
        """Continues prompts (texts or token ids), all at once; tokens come as they are made.

        params, where given, say all, and the two arguments before count no more. Raises as `submit` does. When
        what it returns is closed early its requests are aborted.
        """
        if params is None:
            params = SamplingParams(max_new_tokens=max_new_tokens, ignore_eos=ignore_eos)
        return Stream(len(prompts), partial(self.submit, prompts, params), self._outbox.put)

    def submit(
        self, prompts: Sequence[str | Sequence[int]], params: SamplingParams | Sequence[SamplingParams], sink: Sink
    ) -> Ticket:
        """Begins to continue prompts (texts or token ids), and returns at once. Any thread may call it.

        params: for all prompts, or one for each. `sink` is told every token on a thread of the engine's, perhaps
        before this returns, and must not block; an exception that it is told is the last thing it hears, and
        where it raises one the requests are aborted. Without a tokenizer the prompts must be token ids, and the
        outputs have no text.

        Raises, before any request enters: ValueError where one cannot be served, QueueFull where too many
        wait, and why the engine is down where it is.
        """
        if isinstance(prompts, str | bytes):
            raise ValueError(f"prompts is {prompts!r:.60}; give a list of prompts, with one in it")
        requests, texts = [], []
        for prompt, wanted in zip(prompts, broadcast_params(params, len(prompts)), strict=True):
            request = self._request(prompt, wanted)
            check_request(request, context_length=self.config.context_length, shape=self.shape)
            requests.append(request)
            texts.append(self._text_out(wanted))
        return self._desk.take(requests, texts, sink)

    def state(self) -> State:
        """Whether the engine is well, and how busy."""
        quiet = self._ranks.quiet if hasattr(self, "_ranks") else 0.0  # there are none before the with block
        return replace(self._desk.state(), quiet=quiet)

    def flush(self) -> bool:
        """Whether nothing is under way. Nothing is cached between requests, so there is nothing to drop."""
        now = self._desk.state()
        return now.running + now.waiting == 0

    def _start(self) -> None:
        """Starts the ranks, and the threads that talk with them. An interrupt between would leave ranks unheard."""
        with processes.interrupts_held() if self.job is None else nullcontext():
            self._ranks = start(self.job, config=self.config, ordering=self.ordering.name, checkpoint=self.checkpoint)
            self._desk.refuse(None)
            self._listener.start()
        threading.Thread(target=self._speak, name="engine's voice", daemon=True).start()

    def _request(self, prompt: str | Sequence[int], params: SamplingParams) -> Request:
        try:
            if isinstance(prompt, bytes):
                raise TypeError
            if isinstance(prompt, str):
                prompt = self.tokenizer.encode(prompt, most=self.config.context_length)
            tokens = tuple(map(index, prompt))
        except TypeError:
            raise ValueError(f"the prompt {prompt!r:.60} is neither a text nor token ids; give one of them") from None
        return Request(
            id=next(self._ids),
            prompt=tokens,
            max_new_tokens=params.max_new_tokens,
            stop=(*(() if params.ignore_eos else self.shape.eos), *params.stop_token_ids),
            min_new_tokens=params.min_new_tokens,
            sampling=params.spec(self._seeds.getrandbits(62)),
            logprobs=params.logprobs,
            top_logprobs=params.top_logprobs,
            prompt_logprobs_from=params.prompt_logprobs_from,
        )

    def _text_out(self, params: SamplingParams) -> TextOut:
        try:
            return TextOut(self.tokenizer.stream(), params.stop)
        except ValueError as missing:
            if params.stop:
                raise ValueError(f"stop strings need a tokenizer: {missing}") from None
            return TextOut(None)

    def _speak(self) -> None:
        """Passes arrivals to rank 0, which may be slow to take them: nobody else waits for it."""
        while (item := self._outbox.get()) is not None:
            if isinstance(item, Ticket):
                item.cancel()
                continue
            with suppress(OSError):  # rank 0 is gone: the listener says why
                self._ranks.send(encode_input(item))

    def _listen(self) -> None:
        """Hands on what the ranks say, until they have ended."""
        waiting = set(range(self.config.ranks))
        try:
            for rank, key, value in self._ranks.listen():
                if key == worker.READY:
                    waiting.discard(rank)
                    if not waiting:
                        self._ready.put(None)
                elif key == worker.TOKENS:
                    self._desk.hand_out(decode_tokens(value), time.perf_counter())
        except Exception as error:
            self._failure = error
        self._record()
        ended = self._failure or RuntimeError("the engine has ended; make a new one")
        self._desk.close(ended)
        self._outbox.put(None)
        self._ready.put(ended)

    def _record(self) -> None:
        """Puts the trace together, once the ranks have ended."""
        if self.config.record is None:
            return
        note = "" if self._failure is None else str(self._failure).splitlines()[0]
        try:
            recording.combine(self.config.record, note)
        except (OSError, ValueError) as error:
            self._failure = self._failure or error

    def _end(self, *, at_once: bool) -> None:
        """Ends the ranks: lets them finish what is in flight, or not."""
        try:
            if at_once:
                self._ranks.quit()
            else:
                self._desk.refuse(RuntimeError("the engine is ending; make a new one"))
                self._outbox.put(SchedulerInput(stop=True))
            self._listener.join()
        except BaseException:  # a second Ctrl-C
            self._ranks.quit()
            raise
