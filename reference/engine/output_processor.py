"""Which requests are not finished, who waits for them, and which output goes to whom."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from queue import SimpleQueue

from reference.engine.detokenizer import StopStringFilter
from reference.engine.outputs import EngineStats, TokenOutput
from reference.engine.throughput import DecodeRate
from reference.scheduling.request import NewToken, Request, SchedulerInput
from reference.scheduling.sampling_params import QueueFull

OutputCallback = Callable[[TokenOutput | Exception], None]
"""Is told every output of a handle's prompts, or the one error that ends them all. It must not block."""


@dataclass(slots=True, eq=False, kw_only=True)
class _RequestState:
    handle: RequestHandle
    index: int
    prompt_tokens: int
    text: StopStringFilter
    num_tokens: int = 0


class RequestHandle:
    """Prompts under way. The callback hears of them until each has had its last token, or an error, or `cancel`."""

    def __init__(self, processor: OutputProcessor, callback: OutputCallback, began: float) -> None:
        self._processor, self._callback, self._began = processor, callback, began
        self._lock = threading.RLock()  # held while the callback is called, which may cancel
        self._open: set[int] = set()

    def cancel(self) -> None:
        """Aborts what is unfinished; then the callback hears nothing more. Any thread may call it, often."""
        with self._lock:
            self._processor.discard(self._open, aborted=True)
            self._open.clear()

    def _dispatch(self, state: _RequestState, token: NewToken, at: float) -> None:
        with self._lock:
            if token.request not in self._open:
                return  # cancelled a moment ago
            state.num_tokens += 1
            # a stop token adds no text, whatever it is
            text, cut = state.text.push(token.token) if token.reason != "stop" else ("", False)
            if token.reason is not None and not cut:
                rest, cut = state.text.finish()
                text += rest
            if cut or token.reason is not None:
                self._open.discard(token.request)
                self._processor.discard((token.request,), running=token.reason is None)
            self._tell(
                TokenOutput(
                    index=state.index,
                    token=token.token,
                    text=text,
                    elapsed=at - self._began,
                    reason="stop" if cut else token.reason,
                    logprob=token.logprob,
                    top=token.top,
                    prompt_logprobs=token.prompt_logprobs,
                    prompt_tokens=state.prompt_tokens,
                    num_tokens=state.num_tokens,
                )
            )

    def _fail(self, error: Exception) -> None:
        with self._lock:
            if self._open:
                self._open.clear()
                self._tell(error)

    def _tell(self, news: TokenOutput | Exception) -> None:
        try:
            self._callback(news)
        except Exception:  # whoever listened is gone, and the others' tokens must go on
            self.cancel()


class OutputStream(Iterator[TokenOutput]):
    """A handle's outputs for a `for` loop. Closing it cancels the handle.

    One that is left to be collected gives its handle to `abandon` to be cancelled on another thread: collection
    may come at any moment, while this one holds any lock.
    """

    def __init__(
        self, prompts: int, take: Callable[[OutputCallback], RequestHandle], abandon: Callable[[RequestHandle], None]
    ) -> None:
        self._unfinished, self._abandon = prompts, abandon
        self._news: SimpleQueue[TokenOutput | Exception] = SimpleQueue()
        self._handle = take(self._news.put)

    def __next__(self) -> TokenOutput:
        if not self._unfinished:
            raise StopIteration
        try:
            item = self._news.get()
        except BaseException:  # Ctrl-C
            self.close()
            raise
        if isinstance(item, Exception):
            self._unfinished = 0
            raise item
        self._unfinished -= item.reason is not None
        return item

    def close(self) -> None:
        """Cancels what is unfinished; there is nothing more."""
        self._unfinished = 0
        self._handle.cancel()

    def __del__(self) -> None:
        if self._unfinished and hasattr(self, "_handle"):  # else none was taken
            self._abandon(self._handle)


@dataclass(slots=True, kw_only=True)
class _Counts:
    requests: int = 0
    aborted: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0


@dataclass(slots=True, kw_only=True)
class OutputProcessor:
    """All handles of an engine. `send` passes requests and aborts to the pipeline and must not block.

    capacity: requests that the pipeline serves at once; at most `max_queued_requests` more may wait. It takes none
    while `closed` is an error, which is then raised.
    """

    send: Callable[[SchedulerInput], None]
    capacity: int
    max_queued_requests: int
    closed: Exception | None
    _states: dict[int, _RequestState] = field(default_factory=dict)
    _counts: _Counts = field(default_factory=_Counts)
    _rate: DecodeRate = field(default_factory=DecodeRate)
    _lock: threading.Lock = field(default_factory=threading.Lock)  # of the fields; taken after a handle's, never before

    def add(
        self, requests: Sequence[Request], texts: Sequence[StopStringFilter], callback: OutputCallback
    ) -> RequestHandle:
        """Passes requests to the pipeline, all or none. Raises QueueFull, or why the processor is closed."""
        handle = RequestHandle(self, callback, time.perf_counter())
        with self._lock:
            if self.closed is not None:
                raise self.closed
            waiting = len(self._states) + len(requests) - self.capacity
            if requests and waiting > self.max_queued_requests:
                raise QueueFull(
                    f"{waiting} requests would wait, more than max_queued_requests ({self.max_queued_requests}); "
                    "try again later, with fewer at once, or raise max_queued_requests"
                )
            for index, (request, text) in enumerate(zip(requests, texts, strict=True)):
                prompt_tokens = len(request.prompt)
                self._states[request.id] = _RequestState(
                    handle=handle, index=index, prompt_tokens=prompt_tokens, text=text
                )
                handle._open.add(request.id)
                self._counts.prompt_tokens += prompt_tokens
            self._counts.requests += len(requests)
            self.send(SchedulerInput(requests=tuple(requests)))
        return handle

    def dispatch(self, tokens: Iterable[NewToken], at: float) -> None:
        """Tells the tokens that came at time `at` to those who wait for them."""
        with self._lock:
            found = [(self._states[token.request], token) for token in tokens if token.request in self._states]
            self._counts.generated_tokens += len(found)
            self._rate.add(sum(state.num_tokens > 0 for state, _ in found), at)
        for state, token in found:
            state.handle._dispatch(state, token, at)

    def discard(self, ids: Iterable[int], *, running: bool = True, aborted: bool = False) -> None:
        """Nobody waits for these any more. running: the pipeline must be told; aborted: it is no proper end."""
        with self._lock:
            gone = tuple(number for number in ids if self._states.pop(number, None) is not None)
            self._counts.aborted += len(gone) if aborted else 0
            if gone and running:
                self.send(SchedulerInput(aborts=gone))

    def reject_new(self, error: Exception | None) -> None:
        """Takes no more requests, and says why; None: takes them again."""
        with self._lock:
            self.closed = error

    def close(self, error: Exception) -> None:
        """Takes no more requests, and tells all who wait for one why."""
        self.reject_new(error)
        with self._lock:
            handles = {id(state.handle): state.handle for state in self._states.values()}
            self._states.clear()
        for handle in handles.values():
            handle._fail(error)

    def stats(self) -> EngineStats:
        """How things are now."""
        with self._lock:
            counts, open_ = replace(self._counts), len(self._states)
            waiting = max(0, open_ - self.capacity)
            return EngineStats(
                alive=self.closed is None,
                failure="" if self.closed is None else str(self.closed),
                decode_rate=self._rate.last,
                running=open_ - waiting,
                waiting=waiting,
                requests=counts.requests,
                aborted=counts.aborted,
                prompt_tokens=counts.prompt_tokens,
                generated_tokens=counts.generated_tokens,
            )
