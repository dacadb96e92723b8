"""The engine: a pipeline of processes behind a generator of tokens.

with Engine(EngineConfig(model="smollm2", pp=3)) as engine:
    for output in engine.generate(["The capital of France is"], max_new_tokens=8):
        print(output.text, end="")
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from queue import SimpleQueue
from types import TracebackType

from model import Result
from reference import intel, worker
from reference.config import EngineConfig
from reference.device import HOST_BACKEND, select_dtype
from reference.llama import partition_layers
from reference.preflight import BLOCKING_ISEND, choose, preflight
from reference.requests import Arrivals, Reason, Request, Token, check_request, decode_tokens
from reference.route import choose_route
from reference.supervisor import Ranks
from reference.tokenizer import TextTokenizer, load_tokenizer
from reference.transport import listen_locally
from reference.weights import resolve_source
from reference.worker import Assignment


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One new token of prompt number `index`.

    text: what it adds to the text, often nothing until a character is whole. seconds: from the call of
    `generate` to the token's arrival at the engine. reason: None until the prompt's last token.
    """

    index: int
    token: int
    text: str
    seconds: float
    reason: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrival:
    token: Token
    at: float


_Inbox = SimpleQueue[_Arrival | Exception]


class Engine:
    """A pipeline that starts with the `with` block and is gone after it.

    Making one raises ValueError for what cannot work: unknown names, more stages than layers, a deadlock that
    the model sees ahead (`DeadlockAhead`). Entering it, and taking tokens from it, raise ValueError for a
    checkpoint that a rank could not read, `PipelineStuck`, and `RankDied`; then every process has ended.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.source = resolve_source(config.model, config.load, config.seed)
        self.shape = self.source.config()
        self.layers = partition_layers(self.shape.layers, config.pp)
        self.route = choose_route(
            device=config.device, transport=config.transport, backend=config.backend, ranks=config.pp
        )
        self.device = self.route.device
        dtype = select_dtype(config.dtype, self.device)
        self.ipex = intel.decide(config.ipex, self.device, dtype)
        self.config = replace(
            config,
            device=self.device.kind,
            transport=self.route.way,
            backend=self.route.backend,
            ipex="on" if self.ipex else "off",
            max_len=min(config.max_len, self.shape.max_position),
        )
        self.semantics = config.semantics
        if self.semantics == "auto":
            self.semantics = BLOCKING_ISEND if config.blocking_isend else self.route.semantics
        self.ordering = choose(
            config.ordering, ranks=config.pp, depth=config.depth, control=HOST_BACKEND, data=self.semantics
        )
        self.prediction: Result | None = None
        if config.preflight:
            self.prediction = preflight(
                ranks=config.pp,
                depth=config.depth,
                policy=self.ordering,
                control=HOST_BACKEND,
                data=self.semantics,
            )
        if config.record_logits is not None and not config.record_logits.absolute().parent.is_dir():
            raise ValueError(f"record_logits: there is no folder {config.record_logits.parent}; make it first")
        self._ids = itertools.count()
        self._inboxes: dict[int, _Inbox] = {}
        self._lock = threading.Lock()  # of the inboxes, of what is sent to rank 0, of `_closed`
        self._failure: Exception | None = None
        self._closed: Exception | None = RuntimeError("the engine has not started; use it in a with block")
        self._ready: SimpleQueue[Exception | None] = SimpleQueue()

    @cached_property
    def tokenizer(self) -> TextTokenizer:
        """The checkpoint's tokenizer; ValueError where it has none."""
        return load_tokenizer(self.source)

    @property
    def pids(self) -> tuple[int, ...]:
        """The process of each rank."""
        return self._ranks.pids

    def __enter__(self) -> Engine:
        self._store, port = listen_locally()  # kept until the end: the ranks find each other through it
        self._ranks = Ranks(
            [
                Assignment(
                    rank=rank,
                    config=self.config,
                    ordering=self.ordering.name,
                    source=self.source,
                    store_port=port,
                )
                for rank in range(self.config.pp)
            ],
            watchdog=self.config.watchdog,
            start_timeout=self.config.start_timeout,
        )
        self._closed = None
        self._listener = threading.Thread(target=self._listen, name="engine", daemon=True)
        self._listener.start()
        try:
            failure = self._ready.get()
        except BaseException:
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
        self, prompts: Sequence[str | Sequence[int]], max_new_tokens: int = 16, *, ignore_eos: bool = False
    ) -> Iterator[Output]:
        """Continues prompts (texts or token ids), all at once; tokens come as they are made.

        Raises ValueError, before any request enters, where one of them cannot be served. Without a tokenizer
        the prompts must be token ids, and the outputs have no text. A generator that is closed early aborts
        its requests.
        """
        stop = () if ignore_eos else self.shape.eos
        requests = [
            Request(id=next(self._ids), prompt=self._encode(prompt), max_new_tokens=max_new_tokens, stop=stop)
            for prompt in prompts
        ]
        for request in requests:
            check_request(request, max_len=self.config.max_len, vocabulary=self.shape.vocab_size)
        inbox: _Inbox = SimpleQueue()
        began = time.perf_counter()
        with self._lock:
            if self._closed is not None:
                raise self._closed
            self._inboxes.update((request.id, inbox) for request in requests)
            self._send(Arrivals(requests=tuple(requests)))
        return self._outputs({request.id: index for index, request in enumerate(requests)}, inbox, began)

    def _outputs(self, unfinished: dict[int, int], inbox: _Inbox, began: float) -> Iterator[Output]:
        tokenizer = self._tokenizer_if_any()
        streams = {} if tokenizer is None else {request: tokenizer.stream() for request in unfinished}
        try:
            while unfinished:
                arrival = inbox.get()
                if isinstance(arrival, Exception):
                    unfinished.clear()
                    raise arrival
                token = arrival.token
                index, text = unfinished[token.request], ""
                if token.request in streams:
                    text = streams[token.request].push(token.token)
                if token.reason is not None:
                    text += streams[token.request].finish() if token.request in streams else ""
                    del unfinished[token.request]
                yield Output(
                    index=index,
                    token=token.token,
                    text=text,
                    seconds=arrival.at - began,
                    reason=token.reason,
                )
        finally:
            if unfinished:
                with self._lock:
                    for request in unfinished:
                        self._inboxes.pop(request, None)
                    self._send(Arrivals(aborts=tuple(unfinished)))

    def _encode(self, prompt: str | Sequence[int]) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(prompt) if isinstance(prompt, str) else prompt)

    def _tokenizer_if_any(self) -> TextTokenizer | None:
        try:
            return self.tokenizer
        except ValueError:
            return None

    def _send(self, arrivals: Arrivals) -> None:
        with suppress(OSError):  # rank 0 is gone: the listener says why
            self._ranks.send(arrivals.encode())

    def _listen(self) -> None:
        """Hands on what the ranks say, until they have ended."""
        waiting = set(range(self.config.pp))
        try:
            for rank, key, value in self._ranks.listen():
                if key == worker.READY:
                    waiting.discard(rank)
                    if not waiting:
                        self._ready.put(None)
                elif key == worker.TOKENS:
                    self._hand_out(decode_tokens(value), time.perf_counter())
        except Exception as error:
            self._failure = error
        with self._lock:
            self._closed = self._failure or RuntimeError("the engine has ended; make a new one")
            for inbox in {id(inbox): inbox for inbox in self._inboxes.values()}.values():
                inbox.put(self._closed)
            self._inboxes.clear()
        self._ready.put(self._closed)

    def _hand_out(self, tokens: list[Token], at: float) -> None:
        with self._lock:
            for token in tokens:
                inbox = self._inboxes.get(token.request)
                if inbox is not None:  # else nobody waits for it any more
                    inbox.put(_Arrival(token=token, at=at))
                    if token.reason is not None:
                        del self._inboxes[token.request]

    def _end(self, *, at_once: bool) -> None:
        """Ends the ranks: lets them finish what is in flight, or not."""
        try:
            if at_once:
                self._ranks.quit()
            else:
                with self._lock:
                    self._send(Arrivals(stop=True))
            self._listener.join()
        except BaseException:  # a second Ctrl-C
            self._ranks.quit()
            raise
