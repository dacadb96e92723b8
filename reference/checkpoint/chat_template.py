"""From messages to the text that a chat model was trained on, by the template that came with the checkpoint.

Templates are programs of strangers: they run in jinja2's sandbox, with the names that transformers gives them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from reference.checkpoint.gguf_file import GgufFile

Message = Mapping[str, Any]
"""`role` (system, user, assistant) and `content`, a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTemplate:
    """A checkpoint's template. special: the special tokens by the names that templates know, such as bos_token."""

    text: str
    special: Mapping[str, str] = field(default_factory=dict)

    def render(self, messages: Sequence[Message]) -> str:
        """The conversation as text, up to where the model's answer begins. It has its own first token, if any.

        Raises ValueError where the template refuses the messages, or is broken.
        """
        try:
            return _compiled(self.text).render(
                messages=[dict(message) for message in messages],
                tools=None,
                documents=None,
                add_generation_prompt=True,
                **self.special,
            )
        except TemplateError as wrong:
            raise ValueError(f"the model's chat template refuses these messages: {wrong}") from None
        except (TypeError, LookupError, ArithmeticError, RecursionError) as wrong:
            raise ValueError(f"the model's chat template fails on these messages ({wrong!r})") from None


def hf_template(folder: Path) -> ChatTemplate:
    """The chat template of a Hugging Face folder. Raises ValueError where it has none."""
    file, config = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    try:
        known = json.loads(config.read_text("utf-8")) if config.is_file() else {}
        text = file.read_text("utf-8") if file.is_file() else known.get("chat_template")
    except (ValueError, AttributeError) as wrong:
        raise ValueError(f"{config} cannot be read ({wrong}); fetch the file again") from None
    if isinstance(text, list):  # several, by name
        text = {item["name"]: item["template"] for item in text}.get("default")
    if not isinstance(text, str):
        raise ValueError(
            f"{folder} has no chat template, neither in chat_template.jinja nor in tokenizer_config.json; "
            "complete plain texts instead, or take an instruction-tuned checkpoint"
        )
    return ChatTemplate(text=text, special=_special(known))


def _special(config: Mapping[str, Any]) -> dict[str, str]:
    """The special tokens of a tokenizer_config.json, where a token is a text or an object with one."""
    found = {}
    for name, value in config.items():
        token = value.get("content") if isinstance(value, dict) else value
        if name.endswith("_token") and isinstance(token, str):
            found[name] = token
    return found


def gguf_template(file: GgufFile) -> ChatTemplate:
    """The chat template of a GGUF file. Raises ValueError where it has none."""
    text = file.metadata.get("tokenizer.chat_template")
    if text is None:
        raise ValueError(f"{file.path} has no chat template; complete plain texts instead")
    tokens = file.value("tokenizer.ggml.tokens")
    special = {}
    for name in ("bos", "eos"):
        number = file.metadata.get(f"tokenizer.ggml.{name}_token_id")
        if number is not None:
            special[f"{name}_token"] = tokens[number]
    return ChatTemplate(text=text, special=special)


class _Generation(Extension):
    """`{% generation %}...{% endgeneration %}` marks the model's part for training; here it only encloses text."""

    tags = {"generation"}  # noqa: RUF012 (jinja2 declares it so)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The nodes between the two tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@cache
def _compiled(text: str) -> Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _now
    return environment.from_string(text)


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **more: Any) -> str:
    """jinja2's own filter would escape HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **more)


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _now(form: str) -> str:
    return datetime.now().strftime(form)
