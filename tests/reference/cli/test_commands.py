"""The command line before any command runs: what it imports, what it calls options, and how it ends."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from model.entry.command import Command
from reference.cli.aliases import ALIASES, OF_OTHER_ENGINES, canonical
from reference.cli.commands import COMMANDS, main, parsed
from reference.cli.console import engine_config, install_command
from reference.config import OLD_NAMES
from tests.patience import stretch

ROOT = Path(__file__).parents[3]

HEAVY = ("torch", "numpy", "scipy", "numba", "networkx", "matplotlib", "jinja2", "tokenizers", "safetensors", "gguf")
HEAVY += ("fastapi", "starlette", "uvicorn", "pydantic", "huggingface_hub", "tabulate", "psutil", "triton")


def imported(*words: str) -> set[str]:
    """The modules that a command line imports, asked in a process of its own."""
    program = (
        "import sys; sys.argv = ['reference', *sys.argv[1:]]\n"
        "from reference.__main__ import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print('\\n', *sys.modules, sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True, text=True, timeout=stretch(120)
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines())


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_imports_no_more_than_the_options_of_its_command(command: str | None) -> None:
    modules = imported(*([] if command is None else [command]), "--help")
    assert "reference.cli.commands" in modules and modules.isdisjoint(HEAVY)
    others = {item.module for name, item in COMMANDS.items() if name != command}
    assert modules.isdisjoint(others - {"reference.cli.bench_protocol"})
    assert ("tyro" in modules) == (command is not None)
    assert not any(name.startswith(("reference.engine.engine", "reference.llama.stage")) for name in modules)


def test_a_mistyped_command_needs_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sevre"], prog="python -m reference") == 2
    choices = "generate, chat, serve, bench, or see python -m reference --help"
    assert capsys.readouterr().err == f"error: unknown command 'sevre'; choose one of {choices}\n"
    assert main([], prog="ringproof") == 2
    assert "error: no command; choose one of generate" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "command"), COMMANDS.items())
def test_the_overview_says_what_the_docstring_begins_with(name: str, command: Command) -> None:
    described = " ".join(str(inspect.getdoc(command.load())).split())
    assert described.startswith(command.about) and command.about.endswith(".")


def test_the_overview_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("-h", "--help"):
        assert main([word], prog="python -m reference") == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "usage: python -m reference COMMAND [OPTIONS]" and max(map(len, lines)) <= 100
        assert [name for line in lines for name in COMMANDS if line.startswith(f"  {name} ")] == list(COMMANDS)


def test_options_of_other_engines_and_old_ones_are_read() -> None:
    words = ["--model-path", "a", "--pp-size", "3", "--tensor-parallel-size=2", "--max_model_len", "77", "--rows", "5"]
    command = parsed(["serve", *words, "--decode", "recorded"])
    config = engine_config(command)  # type: ignore[arg-type]
    assert (config.model, config.pp, config.tp, config.context_length) == ("a", 3, 2, 77)
    assert (config.max_running_requests, config.decode) == (5, "captured")


@pytest.mark.parametrize("option", ALIASES)
def test_every_alias_stands_for_an_option_and_is_not_shown(option: str) -> None:
    taken = f"--{ALIASES[option]}"
    assert canonical([f"--{option}", "x"]) == [taken, "x"] and canonical([f"--{option}=x"]) == [f"{taken}=x"]
    assert canonical([f"--{option.replace('-', '_')}"]) == [taken]
    assert ALIASES[option] not in ALIASES, "one step"
    assert {name.replace("_", "-") for name in OLD_NAMES} | set(OF_OTHER_ENGINES) == set(ALIASES)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--max-len 64 --context-length 32", "--max-len and --context-length are one option; give --context-length"),
        ("--context_length=32 --max_len=64", "--context-length and --max-len are one option; give --context-length"),
        ("--pp-size 2 --pipeline-parallel-size 2", "--pp-size and --pipeline-parallel-size are one option; give --pp"),
    ],
)
def test_an_option_by_two_names_is_refused(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", *words.split(), "--prompt", "x"], prog="python -m reference") == 2
    assert capsys.readouterr() == ("", f"error: {message} alone\n")


def test_an_option_may_come_twice_by_one_name() -> None:
    words = ["--prompt", "x", "--prompt", "y", "--max-len", "4", "--max_len", "5"]
    assert canonical(words) == ["--prompt", "x", "--prompt", "y", "--context-length", "4", "--context-length", "5"]


def test_help_shows_no_alias(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["generate", "--help"], prog="python -m reference")
    words = capsys.readouterr().out.split()
    assert {f"--{new}" for new in ALIASES.values()} <= set(words)
    assert set(words).isdisjoint(f"--{old}" for old in ALIASES)


def test_values_of_other_options_stay_as_they_are() -> None:
    words = ["--prompt", "recorded", "--stop=recorded", "max-len", "--decode=recorded", "--", "rows"]
    assert canonical(words) == ["--prompt", "recorded", "--stop=recorded", "max-len", "--decode=captured", "--", "rows"]


@pytest.mark.parametrize("words", [["--help"], ["serve", "--help"], ["bench", "--help"]], ids=" ".join)
def test_who_reads_the_help_may_have_enough(words: list[str]) -> None:
    command = [sys.executable, "-m", "reference", *words]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(stretch(120)) == 141


def test_what_installs_an_extra_needs_no_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    command = install_command("serve")
    assert command.startswith("pip install 'fastapi>=") and "'prometheus-client>=" in command and ";" not in command
    assert "pytest" not in command and "-e" not in command
