"""The commands of the pipeline, each imported when it is asked for: none is worth the import of all."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Protocol

from model.cli.output import ends_quietly
from reference.cli.aliases import canonical
from reference.cli.console import log
from reference.ranks import interrupts

ABOUT = "Run a Llama on several ranks as a pipeline, whose orders of messages the model has checked."


class Runnable(Protocol):
    """What the words after a command become."""

    def run(self) -> int:
        """Does it; the exit status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Where a command is. about: the first sentence of its docstring."""

    module: str
    name: str
    about: str

    def load(self) -> Callable[..., Runnable]:
        """Its class, whose fields are the options."""
        command: Callable[..., Runnable] = getattr(importlib.import_module(self.module), self.name)
        return command


COMMANDS: Mapping[str, Command] = {
    "generate": Command(module="reference.cli.generate", name="Generate", about="Continue prompts."),
    "chat": Command(
        module="reference.cli.chat",
        name="Chat",
        about="Talk to a model: one line from standard input is one message, and standard output holds the answers as "
        "they are made.",
    ),
    "serve": Command(
        module="reference.cli.serve",
        name="Serve",
        about="Serve a model over HTTP: SGLang's /generate, OpenAI's /v1/completions and /v1/chat/completions, "
        "/health, /metrics; /openapi.json describes them.",
    ),
    "bench": Command(
        module="reference.cli.bench",
        name="Bench",
        about="Measure one batch as SGLang's bench_one_batch_server does: every combination of the lengths, after a "
        "warm-up.",
    ),
}


def main(words: Sequence[str], *, prog: str) -> int:
    """Runs one command and gives its exit status. prog: how it was called, as the help shows it."""
    return ends_quietly(lambda: _run(words, prog))


def _run(words: Sequence[str], prog: str) -> int:
    try:
        if words and words[0] in ("-h", "--help"):
            print(overview(COMMANDS, prog))
            return 0
        return int(parsed(words, prog).run())
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as error:
        log(f"error: {' '.join(str(error).splitlines())}")
        return 2
    except RuntimeError as error:  # PipelineStalled, RankDied
        log(str(error))
        return 1
    except KeyboardInterrupt:
        log("interrupted")
        return interrupts.STATUS


def parsed(words: Sequence[str], prog: str = "python -m reference") -> Runnable:
    """The command that the words ask for. Raises ValueError on an unknown one, and SystemExit on wrong options."""
    name = words[0] if words else ""
    if name not in COMMANDS:
        what = f"unknown command {name!r}" if name else "no command"
        raise ValueError(f"{what}; choose one of {', '.join(COMMANDS)}, or see {prog} --help")
    with interrupts.at_once():
        import tyro

        command = COMMANDS[name].load()
    return tyro.cli(command, prog=f"{prog} {name}", args=canonical(words[1:]))


def overview(commands: Mapping[str, Command], prog: str) -> str:
    """The help that names every command."""
    wide = max(map(len, commands)) + 4
    lines = [f"usage: {prog} COMMAND [OPTIONS]", "", ABOUT, ""]
    lines += [
        fill(item.about, 100, initial_indent=f"  {name}".ljust(wide), subsequent_indent=" " * wide)
        for name, item in commands.items()
    ]
    return "\n".join([*lines, "", f"{prog} COMMAND --help describes the options of one."])
