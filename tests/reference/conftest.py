"""One server for all tests of the HTTP interfaces: a real pipeline of two ranks behind a real socket."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from reference.config import EngineConfig
from reference.engine import Engine
from reference.server_options import ServerOptions
from tests.reference.checkpoints import save_chatty

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """A server that runs, with the engine behind it."""

    url: str
    engine: Engine
    client: httpx.Client

    def post(self, path: str, **body: object) -> httpx.Response:
        """One request with a JSON body."""
        return self.client.post(path, json=body)

    def get(self, path: str) -> httpx.Response:
        """One request without a body."""
        return self.client.get(path)

    def wait_until_idle(self) -> None:
        """Returns once no request is under way; fails after a while."""
        deadline = time.monotonic() + 30
        while not self.engine.flush():
            assert time.monotonic() < deadline, f"still busy: {self.engine.state()}"
            time.sleep(0.02)


@pytest.fixture(scope="session")
def chatty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose tokens are letters, with a chat template."""
    folder = tmp_path_factory.mktemp("chatty")
    save_chatty(folder)
    return folder


@pytest.fixture(scope="session")
def web(chatty: Path, require_module: Callable[[str, str], None]) -> Iterator[Web]:
    """The server. Tests leave it healthy and idle."""
    require_module("fastapi", "pip install -e '.[serve]'")
    import uvicorn

    from reference.server import make_app

    config = EngineConfig(
        model=str(chatty), device="cpu", threads=1, pp=2, max_len=512, max_batch=16, max_queue=512, watchdog=60
    )
    options = ServerOptions(port=0, served_model_name="letters", max_body=200_000, max_clients=300)
    with options.bind() as listener, Engine(config) as engine:
        app = make_app(engine, options)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, http="h11", ws="none", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with httpx.Client(base_url=url, timeout=60) as client:
            yield Web(url=url, engine=engine, client=client)
        server.should_exit = True
        thread.join(30)
        pids = engine.pids
    assert not thread.is_alive()
    assert not any(psutil.pid_exists(pid) for pid in pids)


@pytest.fixture
def run_alone(tmp_path: Path) -> Callable[..., str]:
    """`run_alone("line", ...)` runs a program in a process of its own; its standard output, if it ends well."""

    def run(*lines: str) -> str:
        file = tmp_path / "program.py"
        file.write_text("\n".join(lines))
        done = subprocess.run(
            [sys.executable, str(file)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
