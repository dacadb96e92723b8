"""`python -m reference serve` as a process: how it begins, and every way in which it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.patience import stretch, wait_until

pytestmark = pytest.mark.xdist_group("web")

ROOT = Path(__file__).parents[3]
ENDLESS = {"temperature": 0, "max_new_tokens": 9000, "ignore_eos": True}


class Served:
    """A server process that answers."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process, self.url = process, url
        family = psutil.Process(process.pid).children(recursive=True)
        self.family = family
        self.ranks = [one for one in family if self._loads(one)]

    @staticmethod
    def _loads(process: psutil.Process) -> bool:
        """Whether it is a rank: a child of the fork server, which is itself a child of the server."""
        return "forkserver" in " ".join(process.cmdline()) and not process.children()

    def health(self) -> int:
        """The status of /health; 0 once nobody answers."""
        try:
            return httpx.get(f"{self.url}/health", timeout=stretch(5)).status_code
        except httpx.TransportError:
            return 0

    def wait_for_health(self, *statuses: int, seconds: float = 30) -> int:
        """Returns the first of these that is seen."""
        seen: list[int] = []

        def says() -> bool:
            seen.append(self.health())
            return seen[-1] in statuses

        wait_until(says, seconds, what=f"/health does not come to say {statuses}")
        return seen[-1]


@pytest.fixture(autouse=True)
def framework(require_module: Callable[[str, str], None]) -> None:
    require_module("fastapi", "pip install -e '.[serve]'")


@contextmanager
def served(chatty: Path, *options: str, starter: tuple[str, ...] = ()) -> Iterator[Served]:
    """A server of two ranks; afterwards all that it started must be gone."""
    process = subprocess.Popen(
        [
            *(*starter, sys.executable, "-m", "reference", "serve", "--model", str(chatty), "--device", "cpu"),
            *("--threads", "1", "--pp", "2", "--port", "0", "--context-length", "10000"),
            *("--max-batch", "2", *options),
        ],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            assert process.stderr is not None
            line = ""
            while not line.startswith("serving on "):
                line = process.stderr.readline()
                assert line, "it ended before it served"
            running = Served(process, line.split()[2])
            assert running.health() == 200
            yield running
            process.wait(stretch(30))
        finally:
            process.kill()
    _, alive = psutil.wait_procs(running.family, timeout=stretch(10))
    assert not alive


def test_an_interrupt_ends_it_and_tells_those_who_wait(chatty: Path) -> None:
    """Ctrl-C reaches the whole process group, as from a terminal."""
    with served(chatty, "--grace", "0.5") as server:
        asked = {"text": "a", "sampling_params": ENDLESS, "stream": True}
        with httpx.stream("POST", f"{server.url}/generate", json=asked, timeout=stretch(30)) as response:
            lines = (line for line in response.iter_lines() if line)
            next(lines)
            os.killpg(server.process.pid, signal.SIGINT)
            *_, error, end = lines
        out, err = server.process.communicate(timeout=stretch(30))
    assert end == "data: [DONE]"
    assert "shutting down" in json.loads(error[6:])["error"]["message"]
    assert (server.process.returncode, out, err) == (130, "", "interrupted\n")


IN_THE_BACKGROUND = ("sh", "-c", "trap '' INT HUP; exec \"$@\"", "sh")
"""How a script's `nohup ... &` starts a command."""


def test_in_the_background_a_terminal_s_signals_are_for_others(chatty: Path) -> None:
    with served(chatty, "--grace", "30", starter=IN_THE_BACKGROUND) as server:
        asked = {"text": "a", "sampling_params": {**ENDLESS, "max_new_tokens": 100}, "stream": True}
        with httpx.stream("POST", f"{server.url}/generate", json=asked, timeout=stretch(30)) as response:
            lines = (line for line in response.iter_lines() if line)
            next(lines)
            os.killpg(server.process.pid, signal.SIGINT)
            os.killpg(server.process.pid, signal.SIGHUP)
            *_, last, end = lines
        assert json.loads(last[6:])["meta_info"]["completion_tokens"] == 100 and end == "data: [DONE]"
        assert server.health() == 200
        server.process.send_signal(signal.SIGTERM)
        out, err = server.process.communicate(timeout=stretch(30))
    assert (server.process.returncode, out, err) == (0, "", "")


def test_a_request_to_end_lets_answers_come_to_theirs(chatty: Path) -> None:
    with served(chatty, "--grace", "30") as server:
        asked = {"text": "a", "sampling_params": {**ENDLESS, "max_new_tokens": 100}, "stream": True}
        with httpx.stream("POST", f"{server.url}/generate", json=asked, timeout=stretch(30)) as response:
            lines = (line for line in response.iter_lines() if line)
            next(lines)
            server.process.send_signal(signal.SIGTERM)
            *_, last, end = lines
        out, err = server.process.communicate(timeout=stretch(30))
    assert end == "data: [DONE]"
    assert json.loads(last[6:])["meta_info"]["completion_tokens"] == 100
    assert (server.process.returncode, out, err) == (0, "", "")


def test_a_rank_killed_ends_it_with_status_1_and_the_reason(chatty: Path) -> None:
    with served(chatty) as server:
        asked = {"text": "a", "sampling_params": ENDLESS, "stream": True}
        with httpx.stream("POST", f"{server.url}/generate", json=asked, timeout=stretch(30)) as response:
            lines = (line for line in response.iter_lines() if line)
            next(lines)
            server.ranks[-1].kill()
            assert server.wait_for_health(503, 0) in (503, 0)  # 0 where it ends faster than this asks
            *_, error, end = lines
        _, err = server.process.communicate(timeout=stretch(30))
    assert server.process.returncode == 1
    assert "was ended by signal 9" in err
    assert "was ended by signal 9" in json.loads(error[6:])["error"]["message"]
    assert end == "data: [DONE]"
    assert "Traceback" not in err


def test_a_rank_that_stands_still_shows_in_health_before_the_watchdog_ends_it(chatty: Path) -> None:
    with served(chatty, "--watchdog", str(stretch(8))) as server:
        server.ranks[0].suspend()
        server.wait_for_health(503)
        assert "a rank has made no progress" in httpx.get(f"{server.url}/health").json()["error"]["message"]
        server.ranks[0].resume()
        server.wait_for_health(200)
        asked = {"text": "a", "sampling_params": {**ENDLESS, "max_new_tokens": 3}}
        assert httpx.post(f"{server.url}/generate", json=asked, timeout=stretch(30)).status_code == 200
        server.ranks[1].suspend()
        server.wait_for_health(503)
        assert server.process.poll() is None
        _, err = server.process.communicate(timeout=stretch(30))
    assert server.process.returncode == 1
    assert "is suspended" in err
    assert "Traceback" not in err


def test_a_port_in_use_is_status_2_before_anything_starts(chatty: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "reference", "serve", "--model", str(chatty), "--port", str(port)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=stretch(60),
        )
    assert (done.returncode, done.stdout) == (2, "")
    assert f"error: cannot listen on 127.0.0.1 port {port}" in done.stderr
