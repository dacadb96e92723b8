"""Ctrl-C while a program begins and while it ends. In between it is Python's KeyboardInterrupt."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

STATUS = 128 + signal.SIGINT
"""The exit status of a program that was interrupted."""


@contextmanager
def exit_on_sigint() -> Iterator[None]:
    """An interrupt inside ends the program on the spot. For imports, before there is anything to tidy up: an import
    runs callbacks in which Python drops exceptions, so a KeyboardInterrupt may come to nothing there."""
    if ignored():
        yield
        return
    before = signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def ignored() -> bool:
    """Whether the program was started to ignore interrupts, as a script's shell starts it in the background: the
    terminal's Ctrl-C is then for others."""
    return signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def ignore() -> None:
    """From here on an interrupt does nothing: the program is over, only the interpreter has not ended yet."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    os.write(2, b"interrupted\n")
    os._exit(STATUS)
