"""The engine's outputs in OpenAI's form: texts and their events, counts of tokens, two forms of log-probabilities."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from reference.engine.outputs import TokenOutput
from reference.scheduling.request import FinishReason
from reference.server.openai.schema import StreamOptions
from reference.server.schema import MIN_LOGPROB

if TYPE_CHECKING:
    from reference.checkpoint.tokenizer import TextTokenizer


class CompletionAccumulator:
    """The answer to one prompt so far."""

    def __init__(self) -> None:
        self.outputs: list[TokenOutput] = []
        self.length = 0

    def add(self, output: TokenOutput) -> None:
        """Takes in one more token."""
        self.outputs.append(output)
        self.length += len(output.text)

    @property
    def text(self) -> str:
        """All text."""
        return "".join(output.text for output in self.outputs)

    @property
    def reason(self) -> FinishReason | None:
        """Why it ended, if it has."""
        return self.outputs[-1].reason if self.outputs else None


class CompletionFormat:
    """The response of /v1/completions.

    tokenizer: where log-probabilities are wanted. options: what events of a stream say of tokens.
    """

    def __init__(self, model: str, prompts: int, *, tokenizer: TextTokenizer | None, options: StreamOptions) -> None:
        self._head = {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": model,
        }
        self._choices = [CompletionAccumulator() for _ in range(prompts)]
        self._tokenizer, self._options = tokenizer, options

    def add(self, output: TokenOutput) -> None:
        """Takes in one more token."""
        self._choices[output.index].add(output)

    def events(self, output: TokenOutput) -> Iterator[dict[str, Any]]:
        """The event of one more token, which is taken in."""
        choice = self._choices[output.index]
        item = self._item(output.index, output.text, [output], choice.length, output.reason)
        choice.add(output)
        yield {**self._head, "choices": [item], **stream_usage(self._options, choice)}

    def last_events(self) -> list[dict[str, Any]]:
        """The events behind the last token: one that counts all, where that is wanted."""
        return [{**self._head, "choices": [], **usage(self._choices)}] if self._options.include_usage else []

    def whole(self) -> dict[str, Any]:
        """The response without a stream."""
        items = [
            self._item(index, choice.text, choice.outputs, 0, choice.reason)
            for index, choice in enumerate(self._choices)
        ]
        return {**self._head, "choices": items, **usage(self._choices)}

    def _item(
        self, index: int, text: str, outputs: Sequence[TokenOutput], offset: int, reason: FinishReason | None
    ) -> dict[str, Any]:
        logprobs = None if self._tokenizer is None else completion_logprobs(self._tokenizer, outputs, offset)
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}


class ChatFormat:
    """The response of /v1/chat/completions. Arguments as of `CompletionFormat`."""

    def __init__(self, model: str, *, tokenizer: TextTokenizer | None, options: StreamOptions) -> None:
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}
        self._choice = CompletionAccumulator()
        self._tokenizer, self._options = tokenizer, options

    def add(self, output: TokenOutput) -> None:
        """Takes in one more token."""
        self._choice.add(output)

    def first_event(self) -> dict[str, Any]:
        """The event before the first token."""
        return self._chunk({"role": "assistant", "content": ""})

    def events(self, output: TokenOutput) -> Iterator[dict[str, Any]]:
        """The events of one more token, which is taken in: the last one is followed by the reason."""
        self._choice.add(output)
        yield self._chunk({"content": output.text}, logprobs=self._logprobs([output]))
        if output.reason is not None:
            yield self._chunk({}, reason=output.reason)

    def last_events(self) -> list[dict[str, Any]]:
        """The events behind the last token: one that counts all, where that is wanted."""
        counts = {**self._head, "object": "chat.completion.chunk", "choices": [], **usage([self._choice])}
        return [counts] if self._options.include_usage else []

    def whole(self) -> dict[str, Any]:
        """The response without a stream."""
        item = {
            "index": 0,
            "message": {"role": "assistant", "content": self._choice.text, "refusal": None},
            "logprobs": self._logprobs(self._choice.outputs),
            "finish_reason": self._choice.reason,
        }
        return {**self._head, "object": "chat.completion", "choices": [item], **usage([self._choice])}

    def _logprobs(self, outputs: Sequence[TokenOutput]) -> dict[str, Any] | None:
        return None if self._tokenizer is None else chat_logprobs(self._tokenizer, outputs)

    def _chunk(
        self, delta: dict[str, str], *, logprobs: dict[str, Any] | None = None, reason: FinishReason | None = None
    ) -> dict[str, Any]:
        item = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        counts = stream_usage(self._options, self._choice)
        return {**self._head, "object": "chat.completion.chunk", "choices": [item], **counts}


def usage(choices: Sequence[CompletionAccumulator]) -> dict[str, Any]:
    """The field `usage`: counts of tokens, over all prompts. None is taken from a cache of prompts: there is none."""
    prompt = sum(choice.outputs[0].prompt_tokens for choice in choices if choice.outputs)
    new = sum(len(choice.outputs) for choice in choices)
    counts = {"prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new}
    return {"usage": {**counts, "prompt_tokens_details": {"cached_tokens": 0}}}


def stream_usage(options: StreamOptions, choice: CompletionAccumulator) -> dict[str, Any]:
    """What an event of a stream says of tokens, beside its choice."""
    if options.continuous_usage_stats:
        return usage([choice]) if choice.outputs else {"usage": None}
    return {"usage": None} if options.include_usage else {}


def completion_logprobs(tokenizer: TextTokenizer, outputs: Sequence[TokenOutput], offset: int) -> dict[str, Any]:
    """The form of /v1/completions: four lists. offset: where in the whole text the first token's text begins."""
    offsets = []
    for output in outputs:
        offsets.append(offset)
        offset += len(output.text)
    return {
        "tokens": [_token_text(tokenizer.raw(output.token)) for output in outputs],
        "token_logprobs": [_finite(output.logprob) for output in outputs],
        "top_logprobs": [
            {_token_text(tokenizer.raw(token)): _finite(value) for token, value in output.top} for output in outputs
        ],
        "text_offset": offsets,
    }


def chat_logprobs(tokenizer: TextTokenizer, outputs: Sequence[TokenOutput]) -> dict[str, Any]:
    """The form of /v1/chat/completions: one object for each token."""
    content = [
        {
            **_entry(tokenizer, output.token, output.logprob),
            "top_logprobs": [_entry(tokenizer, token, value) for token, value in output.top],
        }
        for output in outputs
    ]
    return {"content": content, "refusal": None}


def _entry(tokenizer: TextTokenizer, token: int, logprob: float | None) -> dict[str, Any]:
    raw = tokenizer.raw(token)
    return {"token": _token_text(raw), "logprob": _finite(logprob), "bytes": list(raw)}


def _token_text(raw: bytes) -> str:
    """A token as text, or where it is no text by its bytes, as OpenAI writes them."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


def _finite(logprob: float | None) -> float:
    return MIN_LOGPROB if logprob is None else max(logprob, MIN_LOGPROB)
