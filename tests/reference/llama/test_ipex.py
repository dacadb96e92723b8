"""Intel's extension of torch: when it is used, what stands in its way, and that it keeps the stage's answers."""

import importlib.metadata
import os
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch

from reference.checkpoint.loader import RandomCheckpoint, load_stage, resolve_checkpoint
from reference.device import HOST, Device
from reference.llama import ipex
from reference.llama.attention_metadata import ForwardBatch
from reference.llama.config import SHAPES
from reference.llama.kv_cache import KVCache
from reference.llama.stage import Stage

CPU, XPU, CUDA = Device(kind=HOST), Device(kind="xpu"), Device(kind="cuda")


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretends that these are installed."""

    def pretend(**installed: str) -> None:
        def version(package: str) -> str:
            if package.split("-")[0] not in installed:
                raise importlib.metadata.PackageNotFoundError(package)
            return installed[package.split("-")[0]]

        monkeypatch.setattr(importlib.metadata, "version", version)
        monkeypatch.delenv(ipex.SWITCH, raising=False)
        ipex.unavailable_reason.cache_clear()

    return pretend


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """What a test pretended is not believed after it, here or in another file."""
    ipex.unavailable_reason.cache_clear()
    yield
    ipex.unavailable_reason.cache_clear()


def test_it_is_used_where_it_is_made_for_this_torch(versions: Callable[..., None]) -> None:
    versions(torch="2.8.0+cpu", intel="2.8.0")
    assert ipex.use_ipex("auto", CPU, torch.float32)
    assert ipex.use_ipex("on", XPU, torch.bfloat16)
    assert not ipex.use_ipex("off", CPU, torch.float32)
    assert not ipex.use_ipex("auto", CUDA, torch.bfloat16)
    assert not ipex.use_ipex("auto", CPU, torch.float16)
    assert not ipex.use_ipex("auto", CPU, torch.float32, captured=True)
    assert ipex.worth_preloading()


@pytest.mark.parametrize(
    ("installed", "named"),
    [
        ({"torch": "2.13.0+cpu"}, r"is not installed; in an environment of its own: pip install .*torch==2\.8"),
        ({"torch": "2.8.0"}, r"is not installed; pip install intel-extension-for-pytorch==2\.8"),
        ({"torch": "2.13.0", "intel": "2.8.0"}, r"2\.8\.0 is not made for torch 2\.13\.0; in an environment"),
        ({"torch": "2.80.0", "intel": "2.8.0"}, r"2\.8\.0 is not made for torch 2\.80\.0"),
    ],
)
def test_what_stands_in_its_way_is_one_line_with_the_remedy(
    versions: Callable[..., None], installed: dict[str, str], named: str
) -> None:
    versions(**installed)
    assert not ipex.use_ipex("auto", CPU, torch.float32)
    assert not ipex.worth_preloading()
    with pytest.raises(ValueError, match=named) as refused:
        ipex.use_ipex("on", CPU, torch.float32)
    assert "\n" not in str(refused.value)


def test_on_is_refused_where_it_does_nothing(versions: Callable[..., None]) -> None:
    versions(torch="2.8.0", intel="2.8.0")
    with pytest.raises(ValueError, match="does nothing for device 'cuda'"):
        ipex.use_ipex("on", CUDA, torch.float32)
    with pytest.raises(ValueError, match=r"packs no torch\.float16"):
        ipex.use_ipex("on", CPU, torch.float16)
    with pytest.raises(ValueError, match="captured decode steps read plain weights; choose --decode plain"):
        ipex.use_ipex("on", CPU, torch.float32, captured=True)
    with pytest.raises(ValueError, match="'yes'; choose one of auto, on, off"):
        ipex.use_ipex("yes", CPU, torch.float32)


def test_the_environment_says_what_auto_is(versions: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    versions(torch="2.8.0", intel="2.8.0")
    monkeypatch.setenv(ipex.SWITCH, "off")
    assert not ipex.use_ipex("auto", CPU, torch.float32)
    assert ipex.use_ipex("on", CPU, torch.float32)
    assert not ipex.worth_preloading()
    monkeypatch.setenv(ipex.SWITCH, "on")
    assert ipex.use_ipex("auto", CPU, torch.float32)
    assert not ipex.use_ipex("auto", CPU, torch.float16)
    assert not ipex.use_ipex("off", CPU, torch.float32)
    versions(torch="2.13.0")
    monkeypatch.setenv(ipex.SWITCH, "on")
    with pytest.raises(ValueError, match="not installed"):
        ipex.use_ipex("auto", CPU, torch.float32)


def _answer(stage: Stage, dtype: torch.dtype) -> torch.Tensor:
    shape = stage.config
    cache = KVCache(shape, shape.layers, 2, 32, dtype, CPU.torch)
    batch = ForwardBatch(rows=(0, 1), start=(0, 0), length=(5, 3))
    with torch.inference_mode():
        tokens = torch.tensor([[1, 2, 3, 4, 5], [6, 7, 8, 0, 0]])
        return stage(tokens, batch, cache)


class FakeExtension:
    """What `ipex` uses of the extension, with plain kernels."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def optimize(self, model: torch.nn.Sequential, *, dtype: torch.dtype, inplace: bool, **options: bool) -> object:
        (linear,) = model
        assert not model.training and inplace and linear.weight.dtype == dtype and not any(options.values())
        self.shapes.append(tuple(linear.weight.shape))
        return model


@pytest.mark.parametrize("biased", [False, True])
def test_every_matrix_but_the_table_is_packed_and_the_stage_answers_the_same(
    monkeypatch: pytest.MonkeyPatch, biased: bool
) -> None:
    extension = FakeExtension()
    monkeypatch.setattr(ipex.importlib, "import_module", lambda name: extension)
    shape = replace(SHAPES["tiny"], attention_bias=biased, mlp_bias=biased)
    stage = load_stage(RandomCheckpoint(shape=shape), shape, range(shape.layers), True, True, torch.float32, CPU.torch)
    before = _answer(stage, torch.float32)
    assert ipex.prepack(stage, torch.float32) == 4 * shape.layers + 1 == len(extension.shapes)
    assert (shape.vocab_size, shape.hidden) in extension.shapes  # the head, though not the table
    assert isinstance(stage.head, ipex.PrepackedWeight) and not isinstance(stage.embedding, ipex.PrepackedWeight)
    assert torch.equal(_answer(stage, torch.float32), before)


def test_an_extension_that_cannot_be_imported_is_named(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(name: str) -> None:
        os.write(1, b"noise")
        raise AttributeError("no such version")

    monkeypatch.setattr(ipex.importlib, "import_module", broken)
    with pytest.raises(ValueError, match=r"cannot be imported \(no such version\).*--ipex off"):
        ipex.prepack(torch.nn.Module(), torch.float32)
    os.write(1, b"heard")
    assert capfd.readouterr() == ("heard", "")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_real_extension_keeps_the_answers_of_a_stage(dtype: torch.dtype) -> None:
    if ipex.unavailable_reason():
        pytest.skip(f"{ipex.unavailable_reason()}; or: make test-ipex")
    source = resolve_checkpoint("tiny", "random", 0)
    shape = source.config()
    stage = load_stage(source, shape, range(shape.layers), True, True, dtype, CPU.torch)
    before = _answer(stage, dtype)
    assert ipex.prepack(stage, dtype) == 4 * shape.layers + 1
    assert type(stage.head.linear).__name__ != "Linear"  # the extension's own
    torch.testing.assert_close(_answer(stage, dtype), before, atol=1e-5 if dtype == torch.float32 else 0.1, rtol=0.02)
