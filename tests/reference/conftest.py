"""Small checkpoints, and one server for all tests of the HTTP interfaces: a real pipeline of two ranks behind a real
socket."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from reference.config import EngineConfig
from reference.engine.engine import Engine
from reference.server.options import ServerOptions
from tests.patience import stretch, wait_until
from tests.reference.checkpoints import LLAMA3_ROPE, save_chatty, save_llama

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
        wait_until(self.engine.is_idle, what="requests are still being served")


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

    from reference.server.app import make_app

    config = EngineConfig(
        model=str(chatty),
        device="cpu",
        threads=1,
        pp=2,
        context_length=512,
        max_batch=16,
        max_queued_requests=512,
        watchdog=3600,
    )
    options = ServerOptions(port=0, served_model_name="letters", max_body=200_000, max_clients=300)
    with options.bind() as listener, Engine(config) as engine:
        app = make_app(engine, options)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, http="h11", ws="none", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with httpx.Client(base_url=url, timeout=stretch(60)) as client:
            yield Web(url=url, engine=engine, client=client)
        server.should_exit = True
        thread.join(stretch(30))
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
            timeout=stretch(120),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """A checkpoint in one file and the same in shards, and its model."""
    single, sharded = tmp_path_factory.mktemp("single"), tmp_path_factory.mktemp("sharded")
    model = save_llama(single, rope_parameters=LLAMA3_ROPE)
    model.save_pretrained(sharded, max_shard_size="20KB")
    assert len(list(sharded.glob("*.safetensors"))) > 5
    return single, sharded, model


@pytest.fixture
def single(saved, tmp_path):
    """A copy of the single-file checkpoint that a test may spoil."""
    return shutil.copytree(saved[0], tmp_path / "checkpoint")


@pytest.fixture
def sharded(saved, tmp_path):
    """The same of the sharded one."""
    return shutil.copytree(saved[1], tmp_path / "checkpoint")


@pytest.fixture
def gguf_copy(saved, tmp_path):
    """The checkpoint's weights as llama.cpp's converter would lay them out, unquantised."""
    import gguf

    config, path = saved[2].config, tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_eos_token_id(2)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, value in saved[2].state_dict().items():
        array = value.numpy()
        for part, heads in (("q_proj", config.num_attention_heads), ("k_proj", config.num_key_value_heads)):
            if part in name:
                # neighbours rotate together: row d of each half becomes rows 2d and 2d + 1 of its head
                halves = array.reshape(heads, 2, config.head_dim // 2, -1)
                array = np.stack([halves[:, 0], halves[:, 1]], axis=2).reshape(array.shape)
        writer.add_tensor(names.get_name(name, (".weight",)), np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint."""
    folder = tmp_path_factory.mktemp("llama")
    save_llama(folder)
    return folder
