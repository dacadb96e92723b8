"""A stream of events while nothing comes, and what is read before the first request."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reference.checkpoint.hf_checkpoint import HfCheckpoint
from reference.config import EngineConfig
from reference.engine.engine import Engine
from reference.engine.outputs import TokenOutput
from reference.scheduling.sampling_params import SamplingParams
from reference.server import streaming
from reference.server.app import make_app, model_name
from reference.server.options import ServerOptions
from reference.server.streaming import DONE, KEEP_ALIVE, OpenRequests, event_stream
from reference.server.tokenizer import ServerTokenizer
from tests.reference.checkpoints import save_llama
from tests.reference.conftest import Web


class SlowEngine:
    """Gives two tokens when it is told to."""

    def __init__(self) -> None:
        self.sinks: list[Callable[[Any], None]] = []

    def submit(self, prompts: Any, params: Any, sink: Callable[[Any], None]) -> Any:
        """Remembers who waits."""
        self.sinks.append(sink)
        return SimpleNamespace(cancel=lambda: None)


async def collected(engine: SlowEngine, waits: int) -> list[str]:
    """The parts of a stream whose tokens come after `waits` comments each."""

    async def receive() -> dict[str, str]:
        await asyncio.Event().wait()
        raise AssertionError

    requests = OpenRequests(engine, 1)  # type: ignore[arg-type]
    response = await requests.submit(SimpleNamespace(receive=receive), [[0]], SamplingParams())  # type: ignore[arg-type]
    assert len(requests) == 1
    parts, tokens = (
        [],
        iter(
            [
                TokenOutput(index=0, token=1, text="a", elapsed=0),
                TokenOutput(index=0, token=2, text="b", elapsed=0, reason="stop"),
            ]
        ),
    )
    async for part in event_stream(response, lambda output: [output.text]).body_iterator:
        parts.append(str(part))
        if parts[-waits:] == [KEEP_ALIVE] * waits:
            engine.sinks[0](next(tokens))
    assert len(requests) == 0
    return parts


def test_a_stream_says_that_it_lives_while_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "KEEP_ALIVE_SECONDS", 0.01)
    parts = asyncio.run(asyncio.wait_for(collected(SlowEngine(), 2), 60))
    assert parts[:2] == [KEEP_ALIVE] * 2 and KEEP_ALIVE.startswith(":") and KEEP_ALIVE.endswith("\n\n")
    assert [part for part in parts if part != KEEP_ALIVE] == ['data: "a"\n\n', 'data: "b"\n\n', DONE]
    assert parts.index('data: "b"\n\n') >= 5


def test_a_comment_is_no_event_for_a_client(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "KEEP_ALIVE_SECONDS", 1e-6)
    body = {"text": "ab", "sampling_params": {"max_new_tokens": 8, "temperature": 0, "ignore_eos": True}}
    answer = web.post("/generate", **body, stream=True)
    lines = [line for line in answer.text.splitlines() if line]
    assert KEEP_ALIVE.strip() in lines
    assert len([line for line in lines if line.startswith("data:")]) == 8 + 1
    assert web.post("/generate", **body).json()["meta_info"]["completion_tokens"] == 8


def test_tokenizer_and_template_are_read_before_the_first_request(
    chatty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(EngineConfig(model=str(chatty), device="cpu"))
    make_app(engine, ServerOptions())
    assert {"tokenizer", "chat_template"} <= vars(engine).keys()


@pytest.mark.parametrize("broken", [False, True])
def test_files_that_give_nothing_are_read_once_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    save_llama(tmp_path)
    if broken:
        (tmp_path / "tokenizer.json").write_text("{")
    calls = []
    real = HfCheckpoint.tokenizer
    monkeypatch.setattr(HfCheckpoint, "tokenizer", lambda self: calls.append(1) or real(self))
    found = ServerTokenizer(Engine(EngineConfig(model=str(tmp_path), device="cpu")))
    for _ in range(3):
        with pytest.raises(ValueError, match="is not a tokenizer" if broken else "does not exist"):
            found.tokenizer  # noqa: B018
        with pytest.raises(ValueError, match="no chat template"):
            found.encode_chat([])
    assert calls == [1]


def test_a_model_that_was_given_no_name_is_called_by_the_last_part_of_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "small.gguf").touch()
    monkeypatch.chdir(tmp_path / "letters")
    for model in (str(tmp_path / "letters"), str(tmp_path / "letters") + "/", "../letters", "."):
        assert model_name(model) == "letters", model
    assert model_name(str(tmp_path / "small.gguf")) == "small.gguf"
    assert (model_name("smollm2"), model_name("meta-llama/Llama-3.1-8B")) == ("smollm2", "meta-llama/Llama-3.1-8B")
    assert model_name("/") == "/"


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_a_request_need_not_name_the_model_or_may_as_the_command_did(web: Web, path: str) -> None:
    body: dict[str, Any] = {"max_tokens": 1}
    body |= {"prompt": "ab"} if path == "/v1/completions" else {"messages": [{"role": "user", "content": "ab"}]}
    for named in ({}, {"model": None}, {"model": "letters"}, {"model": web.engine.config.model}):
        answer = web.post(path, **body, **named)
        assert (answer.status_code, answer.json().get("model")) == (200, "letters"), answer.text
    refused = web.post(path, **body, model="other")
    assert refused.status_code == 404 and "ask for 'letters', or name none" in refused.text
