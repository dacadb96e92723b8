"""Ctrl-C and the end of a parent at awkward moments: while modules are imported, and while an engine starts."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from model.pipelines.serving import Phase
from reference.config import EngineConfig
from reference.engine.engine import Engine
from reference.ranks import processes
from reference.verification.status_board import PHASE_JOIN, PHASE_LOAD, PHASE_START
from tests.patience import stretch
from tests.reference.checkpoints import save_llama

pytestmark = pytest.mark.xdist_group("engine")

ROOT = Path(__file__).parents[3]

SWALLOWED = """
import signal
from reference.ranks import interrupts
with interrupts.exit_on_sigint():
    try:
        signal.raise_signal(signal.SIGINT)
    except BaseException:
        print("dropped, as an import does it")
print("went on")
"""

AFTERWARDS = """
import signal
from reference.ranks import interrupts
with interrupts.exit_on_sigint():
    pass
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    interrupts.ignore()
    signal.raise_signal(signal.SIGINT)
    print("as ever")
"""

IGNORED = """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
from reference.ranks import interrupts
with interrupts.exit_on_sigint():
    signal.raise_signal(signal.SIGINT)
signal.raise_signal(signal.SIGINT)
print("went on")
"""

PARENT = """
import subprocess, sys, time
from reference.ranks import processes
processes.context()
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
print(child.pid, child.stdout.readline().decode().strip(), flush=True)
time.sleep(3600)
"""

INSIDE = """
import time
from reference.ranks import processes
with processes.die_with_parent():
    print("inside", flush=True)
    time.sleep(3600)
"""


def python(code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_an_interrupt_during_imports_ends_the_program_whatever_swallows_exceptions() -> None:
    process = python(SWALLOWED)
    out, err = process.communicate(timeout=stretch(60))
    assert (process.returncode, out, err) == (130, "", "interrupted\n")


def test_no_module_is_imported_before_an_interrupt_ends_the_program() -> None:
    """But those that Python itself has by then, and what stands for the interrupt."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "reference", "generate", "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=stretch(60),
        check=True,
    )
    modules = [line.split("|")[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")]
    ours = [module for module in modules if module.startswith("reference")]
    assert ours[:3] == ["reference", "reference.ranks", "reference.ranks.interrupts"]
    before = modules[: modules.index("reference.ranks.interrupts")]
    assert not {"tyro", "psutil", "multiprocessing", "socket", "threading"} & set(before)


def test_before_and_after_an_interrupt_is_what_it_ever_was() -> None:
    process = python(AFTERWARDS)
    out, err = process.communicate(timeout=stretch(60))
    assert (process.returncode, out, err) == (0, "as ever\n", "")


def test_an_interrupt_that_was_ignored_from_the_start_stays_so() -> None:
    process = python(IGNORED)
    out, err = process.communicate(timeout=stretch(60))
    assert (process.returncode, out, err) == (0, "went on\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl, which only Linux has; nothing to install")
def test_a_fork_server_that_still_imports_ends_with_its_engine() -> None:
    parent = python(PARENT, INSIDE)
    assert parent.stdout is not None
    pid, said = parent.stdout.readline().split()
    child = psutil.Process(int(pid))
    assert said == "inside" and child.is_running()
    parent.kill()
    parent.communicate(timeout=stretch(60))
    _, alive = psutil.wait_procs([child], timeout=stretch(30))
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


def test_a_fork_server_whose_engine_has_ended_already_imports_nothing() -> None:
    process = python(INSIDE, RINGPROOF_STARTED_BY="1")
    assert process.communicate(timeout=stretch(60)) == ("", "")
    assert process.returncode == 1


@pytest.mark.parametrize("phase", [PHASE_START, PHASE_JOIN, PHASE_LOAD, Phase.POLL])
def test_an_interrupt_while_an_engine_starts_leaves_no_process(tmp_path: Path, phase: str) -> None:
    """It comes when a rank is seen in this phase or, where the phase was too short to be seen, later."""
    save_llama(tmp_path)
    engine = Engine(EngineConfig(model=str(tmp_path), device="cpu", threads=1, pp=2))
    over = threading.Event()

    def interrupt() -> None:
        while not over.is_set():
            ranks = getattr(engine, "_ranks", None)
            if ranks is not None:
                seen = {item.phase for item in ranks._board.statuses()}
                if phase in seen or not seen & {PHASE_START, PHASE_JOIN, PHASE_LOAD}:
                    os.kill(os.getpid(), signal.SIGINT)
                    return
            time.sleep(0.001)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt), engine:
        over.wait(stretch(60))
    over.set()
    assert len(engine.pids) == 2
    assert not any(psutil.pid_exists(pid) for pid in engine.pids)
    assert not engine.stats().alive


def test_a_rank_that_cannot_be_started_takes_the_others_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_llama(tmp_path)
    kind = processes.context().Process
    start, started = kind.start, []

    def start_two(process: Any) -> None:
        if len(started) == 2:
            raise BlockingIOError("there is no room for one more process")
        start(process)
        started.append(process.pid)

    monkeypatch.setattr(kind, "start", start_two)
    with pytest.raises(BlockingIOError), Engine(EngineConfig(model=str(tmp_path), device="cpu", threads=1, pp=3)):
        pass
    assert len(started) == 2
    assert not any(psutil.pid_exists(pid) for pid in started)
