"""Checkpoints by name, from a cache such as Hugging Face's tools leave behind; nothing is fetched."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from reference.checkpoint.hf_checkpoint import SINGLE, HfCheckpoint
from reference.checkpoint.hub_cache import REPOSITORIES, cached, repository
from reference.checkpoint.loader import RandomCheckpoint, load_stage, resolve_checkpoint
from reference.llama.config import SHAPES
from reference.llama.tensor_parallel import TensorParallelRank
from tests.patience import stretch
from tests.reference.checkpoints import CPU, LLAMA3_ROPE, save_llama

NAME = "meta-llama/Llama-3.1-8B"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with an old and a new snapshot of a small model under the large one's name, files as links to blobs."""
    folder = tmp_path / "hub" / "models--meta-llama--Llama-3.1-8B"
    for revision, seed in (("0ld", 1), ("abc123", 2)):
        snapshot = folder / "snapshots" / revision
        save_llama(snapshot, shards="20KB", seed=seed, rope_parameters=LLAMA3_ROPE)
        for file in list(snapshot.iterdir()):
            blob = folder / "blobs" / f"{revision}-{file.name}"
            blob.parent.mkdir(exist_ok=True)
            shutil.move(file, blob)
            file.symlink_to(os.path.relpath(blob, snapshot))
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc123")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.parametrize("name", ["llama-3.1-8b", "Llama-3.1-8B", NAME])
def test_a_fetched_model_is_found_by_name_and_loads(cache: Path, name: str) -> None:
    source = resolve_checkpoint(name)
    assert isinstance(source, HfCheckpoint) and source.folder.name == "abc123"
    config = source.config()
    for rank in range(2):
        shard = TensorParallelRank(rank=rank, size=2)
        part = load_stage(source, config, range(1, 3), False, False, torch.bfloat16, CPU, shard)
        assert len(part.layers) == 2


@pytest.mark.parametrize("spoil", ["refs", "snapshots", "all"])
def test_what_is_not_there_says_how_to_get_it_in_one_line(cache: Path, spoil: str) -> None:
    folder = next(cache.iterdir())
    shutil.rmtree(folder if spoil == "all" else folder / spoil)
    message = rf"{NAME} is no folder here, nor a fetched model in {cache}; .*`hf download {NAME}`"
    with pytest.raises(ValueError, match=message) as refused:
        resolve_checkpoint("llama-3.1-8b")
    assert "\n" not in str(refused.value) and "--load random" in str(refused.value)


def test_a_download_that_was_cut_off_is_named(cache: Path) -> None:
    source = resolve_checkpoint(NAME)
    assert isinstance(source, HfCheckpoint)
    shard = sorted(source.folder.glob("*.safetensors"))[-1]
    shard.resolve().unlink()
    with pytest.raises(ValueError, match=rf"{shard.name} does not exist") as refused:
        config = source.config()
        load_stage(source, config, range(config.layers), True, True, torch.float32, CPU)
    assert "\n" not in str(refused.value)


def test_the_name_of_a_shape_needs_no_weights_where_they_are_random() -> None:
    assert resolve_checkpoint("Llama-3.1-8B", "random") == RandomCheckpoint(shape=SHAPES["llama-3.1-8b"])


def test_names() -> None:
    assert REPOSITORIES.keys() <= SHAPES.keys()
    assert repository("HuggingFaceTB/SmolLM2-135M") == "HuggingFaceTB/SmolLM2-135M"
    assert repository("no/such/folder") is repository("../up") is repository("tiny") is None


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"HF_HUB_CACHE": "{home}/a", "HF_HOME": "{home}/b"}, "a"),
        ({"HUGGINGFACE_HUB_CACHE": "{home}/c"}, "c"),  # the older name
        ({"HF_HUB_CACHE": "$HOME/d"}, "d"),
        ({"HF_HUB_CACHE": "~/e"}, "e"),
        ({"HF_HOME": "{home}/f"}, "f/hub"),
        ({"XDG_CACHE_HOME": "{home}/g"}, "g/huggingface/hub"),
        ({}, ".cache/huggingface/hub"),
    ],
)
def test_the_cache_is_where_the_tools_have_it(tmp_path: Path, variables: dict[str, str], folder: str) -> None:
    """In a process of its own: the library reads its variables once."""
    snapshot = tmp_path / folder / "models--a--b" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    names = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in names} | {"HOME": str(tmp_path)}
    environment |= {name: value.format(home=tmp_path) for name, value in variables.items()}
    program = "from reference.checkpoint.hub_cache import cached; print(cached('a/b'))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=stretch(120),
    )
    assert done.stdout.strip() == str(snapshot), done.stderr


@pytest.mark.parametrize("name", ["a--b/c", "-a/b", "a/b.git"])
def test_what_can_be_no_repository_is_said_in_one_line(name: str) -> None:
    with pytest.raises(ValueError, match="no") as refused:
        cached(name)
    assert "\n" not in str(refused.value)


def test_a_cache_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="a/b is no folder here, nor a fetched model in /nowhere"):
        cached("a/b", Path("/nowhere"))


def test_a_rank_of_a_shared_stage_reads_its_part_of_a_tensor_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reference.checkpoint import hf_checkpoint

    save_llama(tmp_path)
    asked: dict[str, tuple[slice, ...] | None] = {}

    class Slice:
        def __init__(self, name: str, inner: object) -> None:
            self.name, self.inner = name, inner

        def get_shape(self) -> list[int]:
            return self.inner.get_shape()  # type: ignore[attr-defined, no-any-return]

        def __getitem__(self, index: tuple[slice, ...]) -> torch.Tensor:
            asked[self.name] = index
            return self.inner[index]  # type: ignore[index, no-any-return]

    class File:
        def __init__(self, *given: object, **options: object) -> None:
            self.opened = real(*given, **options)

        def __enter__(self) -> "File":
            self.file = self.opened.__enter__()
            return self

        def __exit__(self, *error: object) -> object:
            return self.opened.__exit__(*error)

        def keys(self) -> list[str]:
            return self.file.keys()  # type: ignore[no-any-return]

        def get_slice(self, name: str) -> Slice:
            return Slice(name, self.file.get_slice(name))

        def get_tensor(self, name: str) -> torch.Tensor:
            asked[name] = None
            return self.file.get_tensor(name)  # type: ignore[no-any-return]

    real = hf_checkpoint.safe_open
    monkeypatch.setattr(hf_checkpoint, "safe_open", File)
    source = HfCheckpoint(folder=tmp_path)
    load_stage(
        source, source.config(), range(4, 5), False, True, torch.float32, CPU, TensorParallelRank(rank=1, size=2)
    )
    whole = {name for name, index in asked.items() if index is None}
    assert whole == {name for name in asked if "norm" in name} and len(asked) == 9 + 2
    assert asked["model.layers.4.self_attn.k_proj.weight"] == (slice(8, 16), slice(0, 32))
    assert asked["model.layers.4.self_attn.o_proj.weight"] == (slice(0, 32), slice(16, 32))
    assert asked["lm_head.weight"] == (slice(49, 97), slice(0, 32))
    assert (tmp_path / SINGLE).is_file()
