"""How the processes of the ranks begin and end: fast, and none is ever left behind.

Ranks are forked from a server process that has imported torch once, and has done nothing else.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess

from reference.ranks import interrupts, torchrun

PRELOAD = "reference.ranks.preload"
STARTER = "RINGPROOF_STARTED_BY"
"""Environment variable: the process that starts ranks, for its children to know."""

_PR_SET_PDEATHSIG = 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt, as is the greatest value that each takes
_NEVER, _RARELY = 2**31 - 1, 2**25


def context() -> ForkServerContext | SpawnContext:
    """The way to start a rank: from the fork server, or where the system has none, from scratch."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    os.environ[STARTER] = str(os.getpid())
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload([PRELOAD])
    return found


@contextmanager
def preload_fork_server() -> Iterator[None]:
    """Starts the fork server, which imports torch. Inside, the caller imports it too."""
    with interrupts.exit_on_sigint():
        # a process of a job that has not the engine starts no others
        if context().get_start_method() == "forkserver" and not torchrun.is_follower():
            with block_sigint():
                forkserver.ensure_running()
        yield


@contextmanager
def block_sigint() -> Iterator[None]:
    """Processes started inside never see the terminal's Ctrl-C: it is the engine that ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # or multiprocessing starts it inside, and lets interrupts through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def redirect_stdout() -> None:
    """Called by a process whose standard output is no result, for what libraries print there; gloo does."""
    os.dup2(2, 1)


def keep_memory() -> None:
    """Called by a rank whose tensors are in host memory: what it frees it will want again. Otherwise glibc gives the
    memory of a prefill back, and the system has to find and clear it for the next one."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _RARELY)
        mallopt(_M_TRIM_THRESHOLD, _NEVER)


def end_with_launcher() -> None:
    """Called by a process of a job: it ends when the launcher that started it does. On Linux only."""
    _set_death_signal(signal.SIGKILL)


def end_with_parent() -> None:
    """Called by a rank: it ends when the engine's process does, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _let_go_of_fork_server()
    end_with_launcher()  # the process that forked this one ends with the engine
    parent = multiprocessing.parent_process()
    assert parent is not None, "called by the engine's own process"

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="parent watch", daemon=True).start()


def _let_go_of_fork_server() -> None:
    """The fork server ends when nobody has the other end of a pipe. Each child gets one, for children of its own; a
    child that is suspended when the engine is killed would keep the server, and so itself."""
    server = getattr(forkserver, "_forkserver", None)
    alive = getattr(server, "_forkserver_alive_fd", None)
    if server is not None and alive is not None:
        os.close(alive)
        server._forkserver_alive_fd = None


@contextmanager
def die_with_parent() -> Iterator[None]:
    """Inside, this process ends when the one that started it does. Not for long: the system takes the end of the
    thread that started it for the end of that process."""
    _set_death_signal(signal.SIGKILL)
    if os.environ.get(STARTER) not in (None, str(os.getpid()), str(os.getppid())):
        os._exit(1)  # it has ended already
    try:
        yield
    finally:
        _set_death_signal(0)


def _set_death_signal(number: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def end(processes: Sequence[BaseProcess], *, grace: float = 2.0) -> None:
    """Ends every process: asks, and after `grace` seconds kills. Returns when none is left."""
    for process in processes:
        if process.is_alive():
            process.terminate()
    deadline = time.monotonic() + grace
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():  # a suspended process does not hear the request
            process.kill()
    for process in processes:
        process.join()
