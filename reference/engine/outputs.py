"""What the engine gives to its caller: new tokens with their text, cut at stop strings, and its own state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reference.scheduling.request import FinishReason, TokenLogprob, TopLogprobs

if TYPE_CHECKING:
    from reference.checkpoint.tokenizer import TextStream


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One new token of prompt number `index`.

    text: what it adds to the text, often nothing until a character is whole, or until it is certain that no stop
    string begins there. seconds: from the call to the token's arrival at the engine. reason: None until the
    prompt's last token. logprob, top: where they were asked for (see `reference.scheduling.request.NewToken`).
    prompt_logprobs: with the first token, likewise. prompt_tokens: length of the prompt. made: how many new
    tokens the prompt has by now, this one included.
    """

    index: int
    token: int
    text: str
    seconds: float
    reason: FinishReason | None = None
    logprob: float | None = None
    top: TopLogprobs = ()
    prompt_logprobs: tuple[TokenLogprob, ...] = ()
    prompt_tokens: int = 0
    made: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How the engine is. alive: whether it takes requests. failure: why it does not, if it broke.

    quiet: seconds for which some rank has made no progress; also an idle pipeline makes some all the time.
    decode_rate: tokens per second at the last decode log (see `reference.engine.throughput`), 0 before the first.
    running: requests that are being served. waiting: those beyond what the microbatches and the cache hold.
    The others count since the start; a request counts when it is taken, its prompt too.
    """

    alive: bool
    failure: str = ""
    quiet: float = 0.0
    decode_rate: float = 0.0
    running: int = 0
    waiting: int = 0
    requests: int = 0
    aborted: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0


class TextOut:
    """The text of one request as its tokens come, up to the first stop string.

    Without a tokenizer (`stream` is None) all text is empty.
    """

    def __init__(self, stream: TextStream | None, stops: Sequence[str] = ()) -> None:
        self._stream, self._stops = stream, tuple(stops)
        self._held = ""  # the longest end of the text that a stop string may begin with

    def push(self, token: int) -> tuple[str, bool]:
        """The text that may be shown now, and whether it ends here because a stop string follows."""
        return ("", False) if self._stream is None else self._pass(self._stream.push(token), last=False)

    def finish(self) -> tuple[str, bool]:
        """The same when no token follows."""
        return ("", False) if self._stream is None else self._pass(self._stream.finish(), last=True)

    def _pass(self, piece: str, *, last: bool) -> tuple[str, bool]:
        if not self._stops:
            return piece, False
        text = self._held + piece
        found = [at for at in (text.find(stop) for stop in self._stops) if at >= 0]
        if found:
            self._held = ""
            return text[: min(found)], True
        kept = 0 if last else max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept], False


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that `stop` begins with, and goes on after."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
