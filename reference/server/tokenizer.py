"""A model's tokenizer and chat template for a server, read before the first request: none waits while a file is read,
on the event loop least of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from reference.checkpoint.chat_template import ChatTemplate
    from reference.checkpoint.tokenizer import TextTokenizer
    from reference.engine.engine import Engine

Value = TypeVar("Value")


class ServerTokenizer:
    """What the model's files hold, or why they hold none, which is raised for whoever asks for it."""

    def __init__(self, engine: Engine) -> None:
        self._context_length = engine.config.context_length
        self._tokenizer = _value_or_error(lambda: engine.tokenizer)
        self._template = _value_or_error(lambda: engine.chat_template)

    @property
    def tokenizer(self) -> TextTokenizer:
        """The tokenizer; ValueError where the model has none."""
        return _raised(self._tokenizer)

    @property
    def chat_template(self) -> ChatTemplate:
        """The chat template; ValueError where the model has none."""
        return _raised(self._template)

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """The prompt of a conversation. Takes its time; raises ValueError as the two do."""
        text = self.chat_template.render(messages)
        return self.tokenizer.encode(text, bare=True, most=self._context_length)


def _value_or_error(load: Callable[[], Value]) -> Value | ValueError:
    try:
        return load()
    except ValueError as missing:
        return missing


def _raised(value: Value | ValueError) -> Value:
    if isinstance(value, ValueError):
        raise value
    return value
