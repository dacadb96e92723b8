"""`python -m reference chat`: answers on standard output, Ctrl-C, the end of the input; and what is remembered."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from reference.checkpoint.chat_template import ChatTemplate
from reference.cli.chat import Conversation
from reference.scheduling.sampling_params import SamplingParams
from tests.patience import stretch, wait_until
from tests.reference.checkpoints import TURNS, save_letters
from tests.reference.conftest import Web

pytestmark = pytest.mark.xdist_group("web")

ROOT = Path(__file__).parents[3]


def conversation(web: Web, system: str = "", **params: Any) -> Conversation:
    asked = SamplingParams(**{"max_new_tokens": 8, "ignore_eos": True, **params})
    return Conversation(web.engine, ChatTemplate(text=TURNS), asked, system)


def expected(web: Web, text: str, new: int = 8) -> str:
    params = SamplingParams(max_new_tokens=new, ignore_eos=True)
    return "".join(output.text for output in web.engine.generate([text], params=params))


def test_an_answer_continues_all_that_was_said(web: Web, capsys: pytest.CaptureFixture[str]) -> None:
    talk = conversation(web, "Be brief.")
    talk.answer("Hi!")
    first = capsys.readouterr().out
    assert first == expected(web, "<system>Be brief.<user>Hi!<assistant>") + "\n"
    talk.answer("And?")
    second = capsys.readouterr().out
    assert second == expected(web, f"<system>Be brief.<user>Hi!<assistant>{first[:-1]}<user>And?<assistant>") + "\n"
    talk.clear()
    talk.answer("Hi!")
    assert capsys.readouterr().out == first


def test_what_does_not_fit_is_forgotten_or_refused(web: Web, capsys: pytest.CaptureFixture[str]) -> None:
    talk = conversation(web)
    talk.answer("x" * 300)
    talk.answer("y" * 300)
    out, err = capsys.readouterr()
    assert "its oldest part is forgotten" in err
    assert out.splitlines()[1] == expected(web, f"<user>{'y' * 300}<assistant>")
    talk.clear()
    talk.answer("z" * 600)
    out, err = capsys.readouterr()
    assert (out, err.count("error: the message makes 617 tokens")) == ("", 1)
    talk.answer("Hi!")
    assert capsys.readouterr().out == expected(web, "<user>Hi!<assistant>") + "\n"


def test_an_interrupt_ends_the_answer_and_keeps_what_was_said(web: Web, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = iter(
        web.engine.generate(["<user>Hi!<assistant>"], params=SamplingParams(max_new_tokens=8, ignore_eos=True))
    )
    closed = []

    class Interrupted:
        def __iter__(self) -> Any:
            yield next(outputs)
            raise KeyboardInterrupt

        def close(self) -> None:
            closed.append(True)

    engine = SimpleNamespace(
        config=web.engine.config, tokenizer=web.engine.tokenizer, generate=lambda *_, **__: Interrupted()
    )
    talk = Conversation(engine, ChatTemplate(text=TURNS), SamplingParams(max_new_tokens=8))  # type: ignore[arg-type]
    talk.answer("Hi!")
    assert closed == [True]
    said = capsys.readouterr().out.removesuffix("\n")
    assert talk._messages[-1] == {"role": "assistant", "content": said}
    list(outputs)


@contextmanager
def chat(folder: Path, *launcher: str, new: int = 9000) -> Iterator[subprocess.Popen[str]]:
    """The command with a model that never stops by itself. No process is left of it."""
    save_letters(folder, max_position_embeddings=10000, eos_token_id=None)
    (folder / "chat_template.jinja").write_text(TURNS)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", *launcher, "reference", "chat", "--model", str(folder), "--device", "cpu"),
            *(
                "--pp",
                "2",
                "--threads",
                "1",
                "--context-length",
                "10000",
                "--max-batch",
                "1",
                "--max-new-tokens",
                str(new),
            ),
        ],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
        start_new_session=True,
    )
    with process:
        family: list[psutil.Process] = []
        try:
            assert "Ctrl-C" in wait_for_prompt(process)
            family = psutil.Process(process.pid).children(recursive=True)
            yield process
            wait_until(lambda: not any(map(runs, family)), what="orphans")
        finally:
            process.kill()
            for left in filter(runs, family):
                left.kill()


def runs(process: psutil.Process) -> bool:
    """Whether the process has not ended; one that nobody has waited for yet has."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for_prompt(process: subprocess.Popen[str]) -> str:
    """What the command said, the prompt included."""
    assert process.stderr is not None
    said = ""
    while not said.endswith("> "):
        one = process.stderr.read(1)
        assert one, said
        said += one
    return said


@pytest.mark.parametrize("end", ["interrupt", "end of input"])
def test_the_command_from_its_first_line_to_its_end(tmp_path: Path, end: str) -> None:
    """One Ctrl-C ends an endless answer; a second one, or the end of the input, the program."""
    with chat(tmp_path) as process:
        assert process.stdin and process.stdout
        process.stdin.write("\nHi!\n")
        assert wait_for_prompt(process) == "> "  # an empty line is no message
        assert process.stdout.read(1)
        os.killpg(process.pid, signal.SIGINT)
        assert wait_for_prompt(process) == "> "
        if end == "interrupt":
            os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=stretch(60))  # closes the input
        assert (process.returncode, err) == ((130, "interrupted\n") if end == "interrupt" else (0, ""))
        assert out.endswith("\n") and len(out) < 9000


TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")


@pytest.mark.timeout(120)
def test_under_torchrun_rank_0_reads_and_writes(tmp_path: Path) -> None:
    with chat(tmp_path, *TORCHRUN, new=8) as process:
        assert process.stdin
        process.stdin.write("Hi!\n")
        wait_for_prompt(process)
        out, err = process.communicate("And?\n", timeout=stretch(60))
        assert (process.returncode, err) == (0, "> ")
        assert len(out.splitlines()) == 2, out


@pytest.mark.timeout(120)
def test_under_torchrun_an_interrupt_ends_the_program_also_in_an_answer(tmp_path: Path) -> None:
    """torchrun passes it on once, and would kill who goes on half a minute later."""
    with chat(tmp_path, *TORCHRUN) as process:
        assert process.stdin and process.stdout
        process.stdin.write("Hi!\n")
        assert process.stdout.read(1)
        os.killpg(process.pid, signal.SIGINT)  # of torchrun alone: its ranks are in sessions of their own
        _, err = process.communicate(timeout=stretch(60))
        assert "interrupted\n" in err and "> " not in err and "forcefully" not in err


def test_a_closed_input_is_a_mistake() -> None:
    command = ["sh", "-c", 'exec "$0" -m reference chat <&-', sys.executable]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=stretch(60))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: standard input is closed, and chat reads it; give it a terminal, a pipe or a file\n"
