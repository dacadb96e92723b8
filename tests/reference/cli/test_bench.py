"""The benchmark as an engine and as a server see it, and its command."""

import json
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from threading import Thread

import pytest

from reference.__main__ import main
from reference.cli.bench_protocol import (
    Case,
    bench_result,
    measure,
)
from reference.cli.bench_targets import USUAL_VOCABULARY, InProcessTarget, UrlTarget
from tests.patience import stretch
from tests.reference.conftest import Web

pytestmark = pytest.mark.xdist_group("web")

CASE = Case(batch_size=2, input_len=10, output_len=3)


@pytest.mark.parametrize("kind", ["engine", "url"])
def test_an_engine_and_a_server_are_measured_alike(web: Web, kind: str) -> None:
    web.wait_until_idle()
    target = InProcessTarget(web.engine) if kind == "engine" else UrlTarget(web.url)
    assert target.vocabulary == 97
    run = measure(target, Case(batch_size=3, input_len=20, output_len=60), Random(0))
    found = bench_result(run)
    assert 0 < found.last_ttft < found.latency
    assert found.last_gen_throughput is not None
    assert [item.seconds for item in run.arrivals] == sorted(item.seconds for item in run.arrivals)


def test_a_server_that_refuses_or_is_not_there_is_named(web: Web) -> None:
    with pytest.raises(ValueError, match=r"status 400: .*more than the cache holds"):
        UrlTarget(web.url).run([[1] * 600], 4)
    with pytest.raises(ValueError, match=r"no server answers at http://127\.0\.0\.1:1"):
        UrlTarget("http://127.0.0.1:1")
    with pytest.raises(ValueError, match="base-url is 'localhost:30000'"):
        UrlTarget("localhost:30000")


@contextmanager
def stranger(*answers: bytes) -> Iterator[str]:
    """The address of a listener that says one of these to each who connects, in turn, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak() -> None:
            for answer in answers:
                with suppress(OSError):
                    caller, _ = listener.accept()
                    with caller:
                        caller.recv(2**16)
                        caller.sendall(answer)

        speaker = Thread(target=speak, daemon=True)
        speaker.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        speaker.join(stretch(10))


def http(body: bytes, length: int | None = None) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body) if length is None else length, body)


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (b"SSH-2.0-OpenSSH\r\n", ValueError, "BadStatusLine: SSH"),
        (b"", ValueError, "RemoteDisconnected"),
        (http(b"hello"), ValueError, "JSONDecodeError"),
        (http(b"[]"), ValueError, "is no JSON object"),
        (http(b'{"vocab_size": "x"}'), ValueError, "invalid literal"),
        (http(b'{"vocab_size": null}'), None, ""),
        (http(b'{"vocab_size": [1]}'), ValueError, "TypeError"),
        (http(b'{"vocab_size": -5}'), ValueError, "vocab_size is -5"),
        (http(b"{", 100), RuntimeError, "ended before its answer did"),
    ],
    ids=str,
)
def test_a_server_of_another_kind_is_told_in_one_line(
    answer: bytes, kind: type[Exception] | None, message: str
) -> None:
    with stranger(answer) as url:
        if kind is None:
            assert UrlTarget(url).vocabulary == USUAL_VOCABULARY
            return
        with pytest.raises(kind) as refused:
            UrlTarget(url)
    said = str(refused.value)
    assert said.startswith(f"{url}/get_server_info ") and message in said and "\n" not in said


@pytest.mark.parametrize("url", ["http://127.0.0.1:abc", "http://127.0.0.1:1/a b", "http://[::1"])
def test_what_is_no_address_is_told_in_one_line(url: str) -> None:
    with pytest.raises(ValueError, match="check base-url") as refused:
        UrlTarget(url)
    assert url in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("events", "message"),
    [
        (b"data: [DONE]\n\n", "tokens came for 0 of 1 prompts"),
        (b'data: {"text": "x"}\n\n', "KeyError: 'meta_info'"),
        (b'data: {"meta_info": {"completion_tokens": 1}, "index": 7}\n\n', "IndexError"),
        (b"data: [1\n\n", "JSONDecodeError"),
    ],
)
def test_answers_of_another_kind_are_told_in_one_line(events: bytes, message: str) -> None:
    with stranger(http(b"{}"), http(events)) as url:
        target = UrlTarget(url)
        with pytest.raises(ValueError, match=f"{url}/generate does not answer as SGLang would") as refused:
            target.run([[1, 2]], 1)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--result-filename", "."], "result-filename: . is a folder; give a file"),
        (["--result-filename", "no/such/folder/x"], "there is no folder no/such/folder"),
        (["--input-len", "600"], "a case of 616 tokens, but there is room for 512; give smaller lengths"),
    ],
)
def test_what_cannot_be_measured_is_known_before(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    start = ["reference", "bench", "--model", "tiny", "--load", "random", "--device", "cpu", "--input-len", "8"]
    monkeypatch.setattr(sys, "argv", [*start, *arguments])
    assert main() == 2
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("error: ") and said in err and err.count("\n") == 1


def test_the_command_prints_one_table_and_keeps_the_samples(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "results.jsonl"
    options = ["--base-url", web.url, "--skip-warmup", "--result-filename", str(file)]
    lengths = ["--batch-size", "1", "2", "--input-len", "8", "--output-len", "4"]
    monkeypatch.setattr(sys, "argv", ["reference", "bench", *options, *lengths])
    assert main() == 0
    out, err = capfd.readouterr()
    assert [line.split("|")[2].strip() for line in out.splitlines()] == ["batch", "-" * 9, "1", "2"]
    assert "bench: batch 2, input 8, output 4" in err
    kept = [json.loads(line) for line in file.read_text().splitlines()]
    assert [len(item["samples"]) for item in kept] == [4, 8]


def test_a_server_of_less_context_than_the_usual_warm_up(
    web: Web, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert web.engine.config.context_length == 512
    start = ["reference", "bench", "--base-url", web.url, "--output-len", "4", "--input-len"]
    monkeypatch.setattr(sys, "argv", [*start, "8"])
    assert main() == 0
    out, err = capfd.readouterr()
    assert "warm-up: batch 1, input 496, output 16" in err and len(out.splitlines()) == 4
    monkeypatch.setattr(sys, "argv", [*start, "600"])
    assert main() == 2
    assert "a case of 604 tokens, but there is room for 512" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("answers", "length"),
    [
        ([b'{"context_length": 77}'], 77),
        ([b"{}", b'{"data": [{"max_model_len": 88}]}'], 88),
        ([b'{"context_length": null}', b'{"data": [{}]}'], None),
        ([b"{}", b'{"data": []}'], None),
    ],
)
def test_the_context_length_is_asked_of_the_server(answers: list[bytes], length: int | None) -> None:
    with stranger(*map(http, answers)) as url:
        assert UrlTarget(url).context_length == length


def test_a_benchmark_in_process_needs_no_web_framework(
    chatty: Path, tmp_path: Path, run_alone: Callable[..., str]
) -> None:
    said = run_alone(
        *("import sys", "sys.modules.update(dict.fromkeys(('fastapi', 'uvicorn', 'starlette', 'pydantic')))"),
        f"sys.argv = ['reference', 'bench', '--model', {str(chatty)!r}, '--device', 'cpu', '--context-length', '4',"
        " '--skip-warmup', '--input-len', '8', '--output-len', '4']",
        "from reference.__main__ import main",
        "if __name__ == '__main__': raise SystemExit(main())",
    )
    assert len(said.splitlines()) == 3
