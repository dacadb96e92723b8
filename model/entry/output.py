"""What every command prints: one JSON object or lines for people, progress on standard error, pictures in files.

Light to import: `reference` and `experiments` use it, too.
"""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

FORMATS = (".pdf", ".png", ".svg")

CLOSED = 141
"""Exit status where the reader of the output has gone: what a shell reports of a process that SIGPIPE ended."""


def show(as_json: bool, data: object, lines: Callable[[], Iterable[str]]) -> None:
    """One JSON object, or the lines; only what is asked for is made."""
    if as_json:
        print(json.dumps(data))
    else:
        print("\n".join(lines()))


@contextmanager
def progress_bar(unit: str, *, total: int | None = None, least: int = 1) -> Iterator[Callable[[int], None]]:
    """A bar that shows after two seconds, on a terminal only. It gives what moves the bar to an absolute count.

    least: steps by which it moves; some counts are told for every state.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda done: None
        return
    from tqdm import tqdm  # slow to import

    with tqdm(total=total, unit=f" {unit}", leave=False, delay=2, file=sys.stderr) as bar:

        def advance(done: int) -> None:
            if done - bar.n >= least:
                bar.update(done - bar.n)

        yield advance


def check_picture(path: Path) -> None:
    """Raises ValueError where no figure can be written to this path: to be asked before a long computation."""
    if path.suffix not in FORMATS:
        raise ValueError(f"cannot draw to {str(path)!r}; end the name with one of {', '.join(FORMATS)}")
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"cannot draw to {str(path)!r}: it must be a file in a folder that is there")


def ends_quietly(run: Callable[[], int]) -> int:
    """Runs a command and writes its output out. Where nobody reads that any more, as after `| head`: status 141.

    Output that cannot be written is an error of one line, with status 2.
    """
    try:
        try:
            return run()
        finally:
            for stream in _streams():
                stream.flush()
    except BrokenPipeError:
        if not drop_unread():
            raise
        return CLOSED
    except OSError as error:
        _drop(sys.stdout)
        print(f"error: the output cannot be written: {error.strerror}", file=sys.stderr)
        return 2


def drop_unread() -> bool:
    """Whether nobody reads the output any more; then what is left for it is dropped, in silence."""
    gone = [stream for stream in _streams() if _reader_is_gone(stream.fileno())]
    for stream in gone:
        _drop(stream)
    return bool(gone)


def _streams() -> list[TextIO]:
    return [stream for stream in (sys.stdout, sys.stderr) if stream is not None]


def _drop(stream: TextIO) -> None:
    """What is left in a stream, and what Python writes at its end, goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _reader_is_gone(file: int) -> bool:
    poll = select.poll()
    poll.register(file, 0)  # errors are told unasked
    return any(event & select.POLLERR for _, event in poll.poll(0))
