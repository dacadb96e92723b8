"""`python -m reference serve`: the engine behind HTTP."""

from __future__ import annotations

import signal
from contextlib import nullcontext
from dataclasses import dataclass
from types import FrameType
from typing import Annotated, NoReturn

import tyro

from reference.cli.console import describe, engine_config, install_command, log
from reference.config import EngineConfig
from reference.ranks import processes, torchrun
from reference.server.options import ServerOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve(EngineConfig):
    """Serve a model over HTTP: SGLang's /generate, OpenAI's /v1/completions and /v1/chat/completions, /health,
    /metrics; /openapi.json describes them. On the loopback address, unless --host says otherwise: whoever reaches
    the server may use it.

    Exit status: 0 ended by SIGTERM (143 where it comes within the first seconds); 1 the pipeline hung, or a rank died;
    2 bad usage or bad input; 130 interrupted.
    """

    server: Annotated[ServerOptions, tyro.conf.arg(name="")] = ServerOptions()  # noqa: RUF009 (frozen)

    def __post_init__(self) -> None:
        """Checks nothing: `run` does (see `engine_config`)."""

    def run(self) -> int:
        config = engine_config(self)
        self.server.check()
        signal.signal(signal.SIGTERM, _end)
        # in a job of torchrun's the ranks that only follow enter the engine's block, and never leave it
        with nullcontext() if torchrun.is_follower() else self.server.bind() as listener:
            with processes.preload_fork_server():
                try:
                    from reference.server.lifecycle import serve
                except ModuleNotFoundError as missing:
                    raise ValueError(f"{missing}; install the server's packages: {install_command('serve')}") from None
                from reference.engine.engine import (
                    Engine,  # torch is slow to import; the ranks import it at the same time
                )

            with Engine(config) as engine:
                assert listener is not None, "only rank 0 comes here"
                log(describe(engine))
                ended_by = serve(engine, self.server, listener, log)
        if ended_by == signal.SIGINT:
            raise KeyboardInterrupt
        return 0


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """A SIGTERM before the server answers: leaves the `with` blocks, which end the ranks."""
    raise SystemExit(0)
