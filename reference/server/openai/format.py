"""The engine's outputs in OpenAI's words: text so far, counts of tokens, and two forms of log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reference.checkpoint.tokenizer import TextTokenizer
from reference.engine.outputs import Output
from reference.scheduling.request import FinishReason

LEAST = -9999.0
"""Stands for minus infinity, which JSON does not have."""


class Choice:
    """The answer to one prompt so far."""

    def __init__(self) -> None:
        self.outputs: list[Output] = []
        self.length = 0

    def add(self, output: Output) -> None:
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


def usage(choices: Sequence[Choice]) -> dict[str, Any]:
    """Counts of tokens, over all prompts. None is taken from a cache of prompts: there is none."""
    prompt = sum(choice.outputs[0].prompt_tokens for choice in choices if choice.outputs)
    new = sum(len(choice.outputs) for choice in choices)
    counts = {"prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new}
    return {**counts, "prompt_tokens_details": {"cached_tokens": 0}}


def completion_logprobs(tokenizer: TextTokenizer, outputs: Sequence[Output], offset: int) -> dict[str, Any]:
    """The form of /v1/completions: four lists. offset: where in the whole text the first token's text begins."""
    offsets = []
    for output in outputs:
        offsets.append(offset)
        offset += len(output.text)
    return {
        "tokens": [_shown(tokenizer.raw(output.token)) for output in outputs],
        "token_logprobs": [_finite(output.logprob) for output in outputs],
        "top_logprobs": [
            {_shown(tokenizer.raw(token)): _finite(value) for token, value in output.top} for output in outputs
        ],
        "text_offset": offsets,
    }


def chat_logprobs(tokenizer: TextTokenizer, outputs: Sequence[Output]) -> dict[str, Any]:
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
    return {"token": _shown(raw), "logprob": _finite(logprob), "bytes": list(raw)}


def _shown(raw: bytes) -> str:
    """A token as text, or where it is no text by its bytes, as OpenAI writes them."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


def _finite(logprob: float | None) -> float:
    return LEAST if logprob is None else max(logprob, LEAST)
