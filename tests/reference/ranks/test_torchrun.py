"""Ranks that torchrun starts, on one node or two: the same tokens, reports that name other nodes' ranks, no orphans."""

import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import Request, urlopen

import psutil
import pytest

from reference.config import EngineConfig
from reference.engine.engine import Engine
from reference.ranks.torchrun import rank_info
from reference.transport.rendezvous import interface_to
from tests.conftest import missing
from tests.patience import stretch, wait_until

pytestmark = pytest.mark.xdist_group("engine")

ROOT = Path(__file__).parents[3]
MODEL = ("--model", "tiny", "--load", "random", "--device", "cpu", "--threads", "1")
PROMPT = [1, 2, 3]
MARK = "RINGPROOF_TEST_JOB"
GENERATE = (sys.executable, "-m", "reference", "generate", *MODEL, "--prompt-tokens", *map(str, PROMPT), "--ignore-eos")
SLOW = 240
"""Seconds that a job may take where the machine has much else to do."""


@dataclass(slots=True, kw_only=True)
class Job:
    """Processes with a mark in their environment, which whatever they start has too."""

    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    started: list[subprocess.Popen[str]] = field(default_factory=list)
    ports: list[socket.socket] = field(default_factory=list)

    def start(self, command: Sequence[str], **environment: str | int) -> subprocess.Popen[str]:
        known = {name: value for name, value in os.environ.items() if not name.startswith(("GLOO_", "OMP_"))}
        variables = {MARK: self.mark, "TQDM_DISABLE": "1", **{name: str(value) for name, value in environment.items()}}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command, text=True, cwd=ROOT, env=known | variables, **pipes)
        self.started.append(process)
        return process

    def port(self) -> int:
        """One that nobody else is given before the job has ended: it is bound here, and a socket that listens on it
        may still join, as both allow to share it."""
        held = socket.socket()
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("", 0))
        self.ports.append(held)
        return int(held.getsockname()[1])

    def left(self) -> list[psutil.Process]:
        """Processes of the job that still run."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture
def job() -> Iterator[Job]:
    job = Job()
    yield job
    with suppress(AssertionError):
        wait_until(lambda: not job.left(), 15)
    left = job.left()
    for process in left:
        process.kill()
    for process in job.started:
        process.communicate()
    for held in job.ports:
        held.close()
    assert not left, "orphans"


def ranks(
    job: Job,
    *options: str,
    only: dict[int, tuple[str, ...]] | None = None,
    command: Sequence[str] = (*GENERATE, "--pp", "2"),
) -> list[subprocess.Popen[str]]:
    """A job of two ranks by a launcher that has no store: with `only`, more options for some ranks."""
    port = job.port()
    return [
        job.start(
            [*command, *options, *(only or {}).get(rank, ())],
            RANK=rank,
            WORLD_SIZE=2,
            LOCAL_RANK=rank,
            LOCAL_WORLD_SIZE=2,
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=port,
        )
        for rank in range(2)
    ]


def ends(processes: Sequence[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Exit status, standard output and standard error of each."""
    texts = [process.communicate(timeout=stretch(SLOW)) for process in processes]
    return [(process.returncode, *text) for process, text in zip(processes, texts, strict=True)]


@pytest.fixture
def nodes(request: pytest.FixtureRequest, require: Callable[[str, str], str]) -> Iterator[tuple[str, list[list[str]]]]:
    """The first node's address, and what to put before a command to run it on each of two nodes."""
    if request.param == "agents":
        yield "127.0.0.1", [[], []]
        return
    ip = require("ip", "apt-get install iproute2")
    names = [f"ringproof-{uuid.uuid4().hex[:6]}" for _ in range(2)]
    ends_of = [f"rp{name[-6:]}" for name in names]

    def run(*words: str) -> None:
        subprocess.run([ip, *words], check=True, capture_output=True, text=True)

    try:
        for name in names:
            run("netns", "add", name)
        run("link", "add", ends_of[0], "netns", names[0], "type", "veth", "peer", "name", ends_of[1], "netns", names[1])
        for number, (name, end) in enumerate(zip(names, ends_of, strict=True), start=1):
            run("-n", name, "address", "add", f"10.77.0.{number}/24", "dev", end)
            run("-n", name, "link", "set", end, "up")
            run("-n", name, "link", "set", "lo", "up")
        yield "10.77.0.1", [[ip, "netns", "exec", name] for name in names]
    except subprocess.CalledProcessError as refused:
        missing(
            f"the right to make network namespaces ({refused.stderr.strip()})", "run it as root on a host with veth"
        )
    finally:
        for name in names:
            subprocess.run([ip, "netns", "delete", name], capture_output=True)


@pytest.mark.timeout(SLOW)
@pytest.mark.parametrize("nodes", ["agents", "namespaces"], indirect=True)
def test_torchrun_on_two_nodes_gives_the_tokens_of_one_process(job: Job, nodes: tuple[str, list[list[str]]]) -> None:
    address, prefixes = nodes
    port = job.port()
    agents = [
        job.start(
            [
                *(*before, sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--node-rank", str(node)),
                *("--nproc-per-node", "1", "--master-addr", address, "--master-port", str(port)),
                *(*GENERATE[1:], "--pp", "2", "--max-new-tokens", "10"),
            ]
        )
        for node, before in enumerate(prefixes)
    ]
    (status, out, err), (other_status, other_out, other_err) = ends(agents)
    assert (status, other_status) == (0, 0), err + other_err
    assert "the model says ok" in err
    with Engine(EngineConfig(model="tiny", load="random", device="cpu", threads=1)) as engine:
        alone = [output.token for output in engine.generate([PROMPT], 10, ignore_eos=True)]
    assert [int(word) for word in out.split()] == alone
    assert other_out == ""


STUCK = """
import sys
from reference.config import EngineConfig
from reference.engine.engine import Engine
options = {"ordering": "receive-first", "preflight": False, "watchdog": float(sys.argv[1])}
with Engine(EngineConfig(model="tiny", load="random", device="cpu", threads=1, pp=2, **options)) as engine:
    print("served", flush=True)
    list(engine.generate([[1, 2, 3]] * 4, 100, ignore_eos=True))
"""


@pytest.mark.timeout(SLOW)
def test_a_stuck_ring_across_processes_is_reported_by_the_engine(job: Job) -> None:
    """By the Python interface: the block runs on rank 0 only."""
    limit = round(stretch(4))
    (status, out, err), (other, other_out, _) = ends(ranks(job, command=[sys.executable, "-c", STUCK, str(limit)]))
    assert (status, out) == (1, "served\n")
    assert (
        f"PipelineStalled: no rank made progress for {limit} s: deadlock, rank 0 -> rank 1 -> rank 0 wait for each"
        in err
    )
    rows = [line.split()[:4] for line in err.splitlines() if "receive output" in line]
    assert rows == [["0", "receive", "output", "recv(1,"], ["1", "receive", "output", "recv(0,"]]
    assert (other, other_out) == (1, "")


@pytest.mark.timeout(SLOW)
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_job_and_is_named(job: Job, victim: int) -> None:
    started = ranks(job, "--max-new-tokens", "500")
    assert started[0].stdout is not None
    assert started[0].stdout.read(2), "no token"
    os.kill(started[victim].pid, signal.SIGKILL)
    (status, _, err), (other, _, other_err) = ends(started)
    if victim == 1:
        assert status == 1 and "rank 1 failed" in err and "nothing is heard of rank 1" in err
    else:
        assert other == 1, other_err


@pytest.mark.timeout(SLOW)
def test_a_suspended_process_is_named(job: Job) -> None:
    started = ranks(job, "--max-new-tokens", "500", "--watchdog", str(stretch(5)))
    assert started[0].stdout is not None
    assert started[0].stdout.read(2), "no token"
    os.kill(started[1].pid, signal.SIGSTOP)
    status, _, err = ends(started[:1])[0]
    assert status == 1 and "nothing is heard of rank 1: never started, suspended, or out of reach" in err
    os.kill(started[1].pid, signal.SIGCONT)
    assert ends(started[1:])[0][0] == 1


@pytest.mark.timeout(SLOW)
def test_nodes_that_were_told_different_things_are_refused(job: Job) -> None:
    (status, _, err), (other, _, _) = ends(ranks(job, only={1: ("--max-batch", "3")}))
    assert status == 2 and "rank 1 was started with max_batch 3, rank 0 with 8; give all nodes the same" in err
    assert "Traceback" not in err and other == 1


@pytest.mark.timeout(SLOW)
def test_a_node_that_cannot_begin_is_told_of_at_once(job: Job) -> None:
    (status, _, err), (other, _, theirs) = ends(ranks(job, only={1: ("--model", "not-there")}))
    assert (status, other) == (2, 2)
    assert err.splitlines()[-1].startswith("error: rank 1: model 'not-there' is no folder")
    assert theirs.startswith("error: model 'not-there' is no folder") and "Traceback" not in err + theirs


@pytest.mark.timeout(SLOW)
def test_a_node_that_never_comes_is_named(job: Job) -> None:
    alone = {"RANK": 0, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": job.port()}
    first = job.start([*GENERATE, "--pp", "2", "--start-timeout", str(stretch(6))], **alone, **meeting)
    ((status, _, err),) = ends([first])
    assert status == 1
    assert "nothing is heard of rank 1: never started, suspended, or out of reach" in err
    assert "look at its node" in err


@pytest.mark.timeout(SLOW)
def test_rank_0_serves_http_and_all_end_with_it(job: Job, require_module: Callable[[str, str], None]) -> None:
    require_module("uvicorn", "pip install -e '.[serve]'")
    port = job.port()
    serve = (sys.executable, "-m", "reference", "serve", *MODEL, "--pp", "2", "--port", str(port))
    started = ranks(job, command=serve)
    answers: list[str] = []
    body = json.dumps({"input_ids": PROMPT, "sampling_params": {"max_new_tokens": 3, "ignore_eos": True}}).encode()
    request = Request(f"http://127.0.0.1:{port}/generate", body, {"Content-Type": "application/json"})

    def answered() -> bool:
        with suppress(OSError):
            answers.append(urlopen(request, timeout=stretch(20)).read().decode())
        return bool(answers) or started[0].poll() is not None

    wait_until(answered, SLOW / 2, what="it does not come to serve")
    assert answers and "output_ids" in answers[0], answers or ends(started)
    started[0].send_signal(signal.SIGTERM)
    assert [status for status, _, _ in ends(started)] == [0, 0]


GIVEN = {
    "RANK": "1",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}


def test_a_job_of_another_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        ValueError, match="pp 3 times tp 1 are 3 ranks, but torchrun started 4 processes; give --nnodes"
    ):
        Engine(EngineConfig(model="tiny", load="random", device="cpu", pp=3))


def test_the_place_in_a_job_is_what_the_environment_says() -> None:
    found = rank_info(GIVEN)
    assert found is not None and (found.rank, found.ranks, found.local_rank, found.local_ranks) == (1, 4, 1, 2)
    loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    assert interface_to(found.address, found.port) == loopback
    assert rank_info({name: value for name, value in GIVEN.items() if name != "MASTER_ADDR"}) is None
    with pytest.raises(ValueError, match="WORLD_SIZE is 'many'; start the ranks with torchrun"):
        rank_info(GIVEN | {"WORLD_SIZE": "many"})
