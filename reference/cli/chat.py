"""`python -m reference chat`: talk to a model."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reference.cli.console import describe, engine_config, log
from reference.config import EngineConfig
from reference.ranks import processes, torchrun
from reference.scheduling.sampling_params import SamplingParams

if TYPE_CHECKING:
    from reference.checkpoint.chat_template import ChatTemplate
    from reference.engine.engine import Engine

HELP = "an empty line is passed over, /clear begins anew, Ctrl-C ends an answer, and Ctrl-D the program"
HELP_IN_JOB = "an empty line is passed over, /clear begins anew, Ctrl-D ends the program, and so does Ctrl-C"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat(EngineConfig):
    """Talk to a model: one line from standard input is one message, and standard output holds the answers as they
    are made. Everything else goes to standard error. Ctrl-C ends an answer, another one (or the end of the input)
    the program. Under torchrun the input is that of the node with rank 0, and Ctrl-C ends the program at once.

    Exit status: 0 end of input; 1 the pipeline hung, or a rank died; 2 bad usage or bad input; 130 interrupted.
    """

    system: str = ""
    """What the model is told before the conversation; by default what its chat template says."""
    max_new_tokens: int = 256
    """At most so many tokens in one answer."""
    temperature: float = 0.0
    """0 takes the likeliest token; else tokens are drawn, as --seed says, and the more freely the higher this is."""
    top_k: int = 0
    """Draw only from so many likeliest tokens; 0: from all."""
    top_p: float = 1.0
    """Draw only from the fewest likeliest tokens that have this much of the probability together."""

    def __post_init__(self) -> None:
        """Checks nothing: `run` does (see `engine_config`)."""

    def run(self) -> int:
        if sys.stdin is None and not torchrun.is_follower():
            raise ValueError("standard input is closed, and chat reads it; give it a terminal, a pipe or a file")
        config = engine_config(self)
        params = SamplingParams(
            max_new_tokens=self.max_new_tokens, temperature=self.temperature, top_k=self.top_k, top_p=self.top_p
        )
        with processes.preload_fork_server():
            from reference.engine.engine import Engine  # torch is slow to import; the ranks import it at the same time

        with Engine(config) as engine:
            in_job = engine.job is not None
            talk = Conversation(engine, engine.chat_template, params, self.system, in_job=in_job)
            log(describe(engine))
            log(HELP_IN_JOB if in_job else HELP)
            while True:
                print("> ", end="", file=sys.stderr, flush=True)
                line = sys.stdin.readline()
                if not line:
                    return 0
                if line.strip() == "/clear":
                    talk.clear()
                elif line.strip():
                    talk.answer(line.rstrip("\n"))


class Conversation:
    """The messages so far. What no longer fits into the model's context is forgotten, the oldest first.

    in_job: whether a launcher such as torchrun started the ranks. It takes an interrupt for the end of the job, and
    kills who has not ended half a minute later: so here too an interrupt ends more than an answer.
    """

    def __init__(
        self, engine: Engine, template: ChatTemplate, params: SamplingParams, system: str = "", *, in_job: bool = False
    ) -> None:
        self._engine, self._template, self._params, self._in_job = engine, template, params, in_job
        self._system = [{"role": "system", "content": system}] if system else []
        self._messages: list[dict[str, str]] = []

    def clear(self) -> None:
        """Forgets all."""
        self._messages.clear()

    def answer(self, message: str) -> None:
        """Prints the answer to a message as it is made. An interrupt ends it, and what was said until then counts; in
        a job it is raised again."""
        self._messages.append({"role": "user", "content": message})
        try:
            prompt = self._prompt()
        except ValueError as refused:
            self._messages.pop()
            log(f"error: {refused}")
            return
        said = []
        stream = self._engine.generate([prompt], params=self._params)
        try:
            for output in stream:
                said.append(output.text)
                print(output.text, end="", flush=True)
        except KeyboardInterrupt:
            stream.close()
            if self._in_job:
                print(flush=True)
                raise
        print(flush=True)
        self._messages.append({"role": "assistant", "content": "".join(said)})

    def _prompt(self) -> list[int]:
        most = self._engine.config.context_length - self._params.max_new_tokens
        while True:
            text = self._template.render([*self._system, *self._messages])
            prompt = self._engine.tokenizer.encode(text, bare=True)
            if len(prompt) <= most:
                return prompt
            if len(self._messages) == 1:
                raise ValueError(
                    f"the message makes {len(prompt)} tokens, and there is room for {most}; "
                    "shorten it, lower --max-new-tokens or raise --context-length"
                )
            del self._messages[:2]  # a question and its answer
            log("(the conversation is longer than the context: its oldest part is forgotten)")
