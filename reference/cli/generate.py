"""`python -m reference generate`: continue prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated

import tyro

from reference.cli.console import describe, engine_config, log
from reference.config import EngineConfig
from reference.ranks import processes
from reference.scheduling.sampling_params import SamplingParams

if TYPE_CHECKING:
    from reference.engine.engine import TokenOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class Generate(EngineConfig):
    """Continue prompts. Standard output holds the continuation (not the prompt) as it is made; with several
    prompts one block each, in their order, an empty line between. Everything else goes to standard error.

    Exit status: 0 ok; 1 the pipeline hung, or a rank died; 2 bad usage or bad input; 130 interrupted; 141 nobody reads
    the output.
    """

    prompt: Annotated[tuple[tuple[str, ...], ...], tyro.conf.UseAppendAction] = ()
    """Texts to continue, all at once: each a request of its own. May be given again, for more of them."""
    prompt_tokens: Annotated[tuple[tuple[int, ...], ...], tyro.conf.UseAppendAction] = ()
    """One more prompt, as token ids; may be given again. With it the output is token ids too: a model may have no
    tokenizer."""
    max_new_tokens: int = 16
    """At most so many tokens for each prompt."""
    min_new_tokens: int = 0
    """At least so many: what would end the continuation before is not chosen. Not beside --stop."""
    temperature: float = 0.0
    """0 takes the likeliest token; else tokens are drawn, as --seed says, and the more freely the higher this is."""
    top_k: int = 0
    """Draw only from so many likeliest tokens; 0: from all."""
    top_p: float = 1.0
    """Draw only from the fewest likeliest tokens that have this much of the probability together."""
    stop: tuple[str, ...] = ()
    """Texts that end the continuation; they are cut off."""
    stop_token_ids: tuple[int, ...] = ()
    """Tokens that end it, beside those of the model."""
    ignore_eos: bool = False
    """Go on after the token that ends a text."""
    logprobs: bool = False
    """Say the log-probability of every new token, and of its rivals, on standard error."""
    top_logprobs: int = 0
    """How many of the likeliest tokens these are."""

    def __post_init__(self) -> None:
        """Checks nothing: `run` does (see `engine_config`)."""

    def run(self) -> int:
        config = engine_config(self)
        params = SamplingParams(**{name: getattr(self, name) for name in SAMPLING_FIELDS})
        prompts: list[str | Sequence[int]] = [*(text for texts in self.prompt for text in texts), *self.prompt_tokens]
        if not prompts:
            raise ValueError("there is no prompt; give texts after --prompt, or token ids after --prompt-tokens")
        with processes.preload_fork_server():
            from reference.engine.engine import Engine  # torch is slow to import; the ranks import it at the same time

        with Engine(config) as engine:
            log(describe(engine))
            printer = Printer(len(prompts), show=number if self.prompt_tokens else text)
            outputs = []
            for output in engine.generate(prompts, params=params):
                printer.show(output)
                outputs.append(output)
                if self.logprobs:
                    log(format_logprobs(output))
        log(speed(outputs))
        return 0


SAMPLING_FIELDS = tuple(
    field.name for field in fields(SamplingParams) if field.name not in ("seed", "prompt_logprobs_from")
)
"""What of `SamplingParams` the command line asks for. `EngineConfig.seed` is where its draws begin."""


class Printer:
    """Prints the outputs of several prompts in the order of the prompts, each as early as that allows."""

    def __init__(self, prompts: int, *, show: Callable[[TokenOutput], str]) -> None:
        self._text = show
        self._pending: list[list[TokenOutput]] = [[] for _ in range(prompts)]
        self._at = 0

    def show(self, output: TokenOutput) -> None:
        """Prints all that is due now."""
        self._pending[output.index].append(output)
        while self._at < len(self._pending):
            done = False
            for item in self._pending[self._at]:
                print(self._text(item), end="", flush=True)
                done = item.reason is not None
            self._pending[self._at].clear()
            if not done:
                return
            self._at += 1
            print("\n" if self._at < len(self._pending) else "", flush=True)


def text(output: TokenOutput) -> str:
    """What the token adds to the text."""
    return output.text


def number(output: TokenOutput) -> str:
    """The token itself."""
    return f"{output.token} "


def speed(outputs: list[TokenOutput]) -> str:
    """One line: how fast tokens came, from the call to the last one, and after the first one."""
    total = max(output.elapsed for output in outputs)
    first = min(output.elapsed for output in outputs)
    rate = f", then {(len(outputs) - 1) / (total - first):.1f} tokens/s" if total > first else ""
    return f"{len(outputs)} tokens in {total:.2f} s: the first after {first:.2f} s{rate}"


def format_logprobs(output: TokenOutput) -> str:
    """One line: a new token with its log-probability, and the likeliest ones."""
    rivals = ", ".join(f"{token} {logprob:.4f}" for token, logprob in output.top)
    found = f"prompt {output.index}, token {output.num_tokens}: {output.token} {output.logprob:.4f}"
    return f"{found} of {rivals}" if rivals else found
