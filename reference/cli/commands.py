"""The commands of the pipeline, each imported when it is asked for: none is worth the import of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from model.entry.command import Command, Runnable, chosen, overview
from model.entry.output import ends_quietly
from reference.cli.aliases import canonical
from reference.cli.console import log
from reference.ranks import interrupts

ABOUT = "Run a Llama on several ranks as a pipeline, whose orders of messages the model has checked."


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
            print(overview(COMMANDS, prog, ABOUT))
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
    command = chosen(COMMANDS, words, prog)
    with interrupts.exit_on_sigint():
        import tyro

        options = command.load()
    return tyro.cli(options, prog=f"{prog} {words[0]}", args=canonical(words[1:]))
