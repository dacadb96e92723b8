"""The commands of the model, each imported when it is asked for.

Reading the options of all commands costs more than most answers, so the first word chooses the one that is read.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from model.entry.command import Command, Runnable, chosen, overview
from model.entry.output import ends_quietly

ABOUT = "Which send/receive orders hang, and on which library?"

COMMANDS: Mapping[str, Command] = {
    "check": Command(
        module="model.cli.check",
        name="Check",
        about="Decide one program: 0 if it finishes, 1 if it can hang or lose a message, 2 on bad usage.",
    ),
    "space": Command(
        module="model.cli.rings",
        name="Space",
        about="All 2^P orderings of one ring step under rendezvous: how many deadlock, how long the others take.",
    ),
    "names": Command(module="model.cli.rings", name="Names", about="The named programs, orderings and semantics."),
    "simulate": Command(
        module="model.cli.durations",
        name="Simulate",
        about="Simulate a program without wildcards: 0 if it finishes, 1 if it hangs, 2 on bad usage.",
        old={"--trace": "--chrome"},
    ),
    "period": Command(
        module="model.cli.durations",
        name="PeriodOf",
        about="The time per round of a program that repeats: 0, or 1 if no round is ever done, or 2 on bad usage.",
    ),
    "synth": Command(
        module="model.cli.synthesis",
        name="Synth",
        about="Order the messages so that nothing can deadlock under rendezvous: 0 if that is possible, "
        "1 if no order is.",
    ),
    "schedules": Command(
        module="model.cli.schedules",
        name="Schedules",
        about="Check a schedule of torch.distributed.pipelining: 0 if it finishes under every library asked, 1 if not.",
    ),
    "hangs": Command(
        module="model.cli.validation",
        name="Hangs",
        about="Explain reported hangs: 0 if the model has each hang and each cure as reported, 1 if not, "
        "2 on bad usage.",
    ),
    "suite": Command(
        module="model.cli.validation",
        name="Suite",
        about="Judge labelled cases by the contract of the MPI standard: 0 if all agree, 1 if not, 2 on bad usage.",
    ),
    "conform": Command(
        module="model.cli.traces",
        name="Conform",
        about="Hold a recorded run against the model: 0 if the model allows it, 1 if not, 2 on bad usage.",
    ),
    "timeline": Command(
        module="model.cli.traces",
        name="TimelineOf",
        about="Show a recorded run: where each rank's time went, and with --draw and --chrome when. "
        "0, or 2 on bad usage.",
    ),
    "promela": Command(
        module="model.cli.spin", name="Promela", about="Print a program as a Promela model, for the model checker SPIN."
    ),
    "spin": Command(
        module="model.cli.spin",
        name="Spin",
        about="Run SPIN on a program: 0 where it agrees with the model, 1 where not, 2 on bad usage or a missing tool.",
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
        return parsed(words, prog).run()
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as error:
        print("error:", " ".join(str(error).splitlines()), file=sys.stderr)  # a name in a file may hold line ends
        return 2
    except KeyboardInterrupt as stopped:
        print(str(stopped) or "interrupted", file=sys.stderr)
        return 130


def parsed(words: Sequence[str], prog: str = "python -m model") -> Runnable:
    """The command that the words ask for. Raises ValueError on an unknown one, and SystemExit on wrong options."""
    command = chosen(COMMANDS, words, prog)
    import tyro

    def current(word: str) -> str:
        option, equals, value = word.partition("=")
        return command.old.get(option, option) + equals + value

    return tyro.cli(command.load(), prog=f"{prog} {words[0]}", args=[current(word) for word in words[1:]])
