"""The suite itself: it runs whoever starts it, and its limits stretch with the load of the machine."""

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import pytest_timeout

from tests import patience
from tests.patience import FACTOR, MOST, strain, stretch, wait_until

ROOT = Path(__file__).parents[1]
NEVER_S = 1000.0
"""A limit that is no limit."""
IGNORING = ["sh", "-c", "trap '' INT QUIT TERM ALRM CHLD HUP; exec \"$@\"", "sh"]
BLOCKING = [
    *(sys.executable, "-c"),
    "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, {2, 15}); os.execv(sys.argv[1], sys.argv[1:])",
]

LEFT_OVER = {"MAKEFLAGS": "-i -j8", "RANK": "3", "http_proxy": "http://127.0.0.1:9"}
"""What a make, a launcher of jobs and a company's container may leave in the environment."""

CHILD = """
import os, subprocess, sys
TELL = "import signal; print(*sorted(x.name for x in signal.valid_signals() if signal.getsignal(x) == signal.SIG_IGN))"
MASK = "; print(*sorted(x.name for x in signal.pthread_sigmask(signal.SIG_BLOCK, ())))"

def test_what_a_child_is_started_with():
    said = subprocess.run([sys.executable, "-c", TELL + MASK], capture_output=True, text=True).stdout.splitlines()
    ignored, blocked = (set(line.split()) for line in said)
    assert ignored <= {"SIGHUP", "SIGPIPE", "SIGXFSZ"} and not blocked  # Python itself ignores the last two
    assert not {"MAKEFLAGS", "RANK", "http_proxy"} & set(os.environ)
"""


@pytest.mark.parametrize(
    ("starter", "workers"), [(IGNORING, "1"), (BLOCKING, "0")], ids=["signals ignored", "signals blocked"]
)
def test_children_hear_signals_whoever_starts_the_suite(tmp_path: Path, starter: list[str], workers: str) -> None:
    """In a session of its own, with nothing to read, no terminal and no home."""
    file = tmp_path / "test_child.py"
    file.write_text(CHILD)
    quiet = ("-q", "-p", "no:cacheprovider", "-n", workers)
    here = ("--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"))
    interrupts = "tests/reference/ranks/test_interrupts.py::test_before_and_after_an_interrupt_is_what_it_ever_was"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HOME", "TERM", "PYTEST_"))}
    done = subprocess.run(
        [*starter, sys.executable, "-m", "pytest", *quiet, *here, str(file), interrupts],
        cwd=ROOT,
        env=kept | LEFT_OVER,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=stretch(60),
    )
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout + done.stderr


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`busy(load=..., pace=...)`: a machine whose work takes so many times as long, by either measure."""
    monkeypatch.delenv(FACTOR, raising=False)

    def now(*, load: float = 0.0, pace: float = 0.0) -> None:
        monkeypatch.setattr(patience, "_load", lambda: load)
        monkeypatch.setattr(patience, "_pace", lambda: pace)
        monkeypatch.setattr(patience, "_seen", (-patience.LOOK_AGAIN_S, 1.0))

    return now


@pytest.mark.parametrize(
    ("load", "pace", "expected"), [(0.1, 0.5, 1.0), (3.0, 1.0, 3.0), (1.0, 4.0, 4.0), (1e9, 1.0, MOST)]
)
def test_a_limit_stretches_with_what_slows_the_machine_most(
    busy: Callable[..., None], load: float, pace: float, expected: float
) -> None:
    busy(load=load, pace=pace)
    assert (strain(), stretch(10.0)) == (expected, 10 * expected)


def test_a_limit_stretches_as_the_environment_says(busy: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    busy(load=2.0)
    monkeypatch.setenv(FACTOR, "1.5")
    assert stretch(10.0) == 30.0


def test_the_real_measures_are_numbers() -> None:
    assert patience._load() >= 0 and patience._pace() > 0 and 1 <= strain() <= MOST


class Clock:
    """Time that passes by sleeping only; a sleep takes `lag` times as long as it was asked for."""

    def __init__(self, lag: float = 1.0) -> None:
        self.now, self.lag = 0.0, lag

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds * self.lag


@pytest.mark.parametrize("load", [1.0, 7.0])
def test_a_wait_ends_at_its_condition_or_at_its_stretched_limit(
    busy: Callable[..., None], monkeypatch: pytest.MonkeyPatch, load: float
) -> None:
    busy(load=load)
    clock = Clock()
    monkeypatch.setattr(patience, "time", clock)
    wait_until(lambda: clock.now > 9.5 * load, 10.0)
    before = clock.now
    with pytest.raises(AssertionError, match="no sign of life"):
        wait_until(lambda: False, 10.0, what="no sign of life")
    assert clock.now - before == pytest.approx(10.0 * load, rel=0.01)


def test_time_lost_under_a_load_stays_forgiven_when_the_load_has_gone(
    busy: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    busy(load=10.0)
    clock = Clock()
    monkeypatch.setattr(patience, "time", clock)

    def over() -> bool:
        if clock.now > 50.0:
            busy(load=1.0)
        return clock.now > 54.0

    wait_until(over, 10.0)


def test_the_limit_of_a_whole_test_stretches(busy: Callable[..., None], request: pytest.FixtureRequest) -> None:
    busy(load=5.0)
    item = request.node
    timed = pytest_timeout.Settings(timeout=NEVER_S, method="signal", func_only=False, disable_debugger_detection=False)
    item.config.hook.pytest_timeout_set_timer(item=item, settings=timed)
    assert 4.9 * NEVER_S < signal.getitimer(signal.ITIMER_REAL)[0] <= 5 * NEVER_S


def limits(tree: ast.AST) -> Iterator[tuple[int, float]]:
    """(line, seconds) of every limit of a wait that is written as a number."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        given = [word.value for word in node.keywords if word.arg in ("timeout", "watchdog")]
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("wait", "join", "poll"):
            given += node.args
        for value in given:
            if isinstance(value, ast.Constant) and isinstance(value.value, int | float):
                yield value.lineno, value.value


def test_every_limit_of_a_wait_stretches() -> None:
    """Those below a second are for what must not happen, and those of NEVER_S and more for what would never end."""
    fixed = [
        f"{path.relative_to(ROOT)}:{line}: {seconds} s"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for line, seconds in limits(ast.parse(path.read_text()))
        if 1 <= seconds < NEVER_S
    ]
    assert fixed == [], "write stretch(...) of tests.patience around these"
    assert list(limits(ast.parse("process.communicate(timeout=60)\nthread.join(5)\nengine(watchdog=stretch(4))"))) == [
        (1, 60),
        (2, 5),
    ]
