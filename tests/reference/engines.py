"""Engines of a few small ranks, and what tests ask of them."""

import threading
from pathlib import Path
from typing import Any

import psutil

from reference.config import EngineConfig
from reference.engine.engine import Engine, TokenOutput
from tests.patience import stretch

PROMPTS = [[3, 1, 4], [1, 5], [92, 65, 35]]
LONG = 200
"""New tokens of a request that is not finished before the test has done its deed."""


def config(checkpoint: Path, **options: Any) -> EngineConfig:
    small = {"model": str(checkpoint), "device": "cpu", "threads": 1, "context_length": 256, "pp": 3}
    return EngineConfig(**{**small, "watchdog": stretch(30), **options})


def gone(pids: tuple[int, ...]) -> bool:
    """Whether no process is left of these (one that has ended and is not yet reaped counts as gone)."""
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=stretch(10))
    return not alive


def tokens(engine: Engine, prompts: list[list[int]], new: int) -> list[list[int]]:
    """Those of each prompt."""
    out: list[list[int]] = [[] for _ in prompts]
    for output in engine.generate(prompts, new, ignore_eos=True):
        out[output.index].append(output.token)
    return out


class Heard:
    """A callback that can be waited for."""

    def __init__(self, prompts: int) -> None:
        self.outputs: list[list[TokenOutput]] = [[] for _ in range(prompts)]
        self.errors: list[Exception] = []
        self._left, self._over = prompts, threading.Event()

    def __call__(self, news: TokenOutput | Exception) -> None:
        if isinstance(news, Exception):
            self.errors.append(news)
            self._over.set()
            return
        self.outputs[news.index].append(news)
        self._left -= news.reason is not None
        if self._left == 0:
            self._over.set()

    def wait(self) -> list[list[int]]:
        assert self._over.wait(stretch(60)), "it did not end"
        return [[output.token for output in outputs] for outputs in self.outputs]
