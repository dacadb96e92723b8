"""Captured decode steps and their kernels, by Triton's interpreter: the same results as the plain stage."""

import json
import re
from dataclasses import replace
from itertools import product as combinations
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from reference.checkpoint.loader import RandomCheckpoint, load_stage
from reference.config import EngineConfig
from reference.device import Device
from reference.engine.engine import Engine
from reference.llama import rope
from reference.llama.attention_metadata import ForwardBatch
from reference.llama.config import SHAPES, LlamaConfig
from reference.llama.graph_runner import CapturedStage, select_runner
from reference.llama.kv_cache import KVCache
from reference.llama.stage import Stage, silu_and_mul

HOST = Device(kind="cpu")
SHAPE = LlamaConfig(
    vocab_size=256,
    hidden=64,
    layers=2,
    heads=6,
    kv_heads=2,
    head_dim=32,
    intermediate=96,
    rms_eps=1e-5,
    rope_theta=1e4,
    tied=False,
    max_position=256,
)
ROWS, POSITIONS = 6, 150


@pytest.fixture(autouse=True)
def triton(require_module):
    require_module("triton", "pip install triton")


def stage(first: bool = True, last: bool = True, shape: LlamaConfig = SHAPE) -> Stage:
    return load_stage(RandomCheckpoint(shape=shape), shape, range(shape.layers), first, last, torch.float32, HOST.torch)


def cache(shape: LlamaConfig = SHAPE) -> KVCache:
    return KVCache(shape, shape.layers, ROWS, POSITIONS, torch.float32, HOST.torch)


def test_a_product_with_its_norm_its_gate_and_its_residual():
    from reference.llama.decode_kernels import product

    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(3, 64, generator=generator), torch.randn(192, 64, generator=generator)
    gain, residual = torch.rand(64, generator=generator), torch.randn(3, 96, generator=generator)
    for normed, gated, added in combinations((False, True), repeat=3):
        out = torch.full((3, 96), torch.nan)
        product(
            x,
            weight if gated else weight[:96],
            out,
            gain_K=gain if normed else None,
            eps=1e-5,
            residual_BN=residual if added else None,
            gated=gated,
        )
        inputs = F.rms_norm(x, (64,), gain, 1e-5) if normed else x
        wanted = silu_and_mul(inputs @ weight.T) if gated else inputs @ weight[:96].T
        torch.testing.assert_close(out, wanted + residual if added else wanted, rtol=1e-5, atol=1e-5)


def test_the_kernels_of_a_prefill():
    from reference.llama import prefill_kernels

    generator = torch.Generator().manual_seed(1)
    both = torch.randn(2, 5, 200, generator=generator)
    wanted = silu_and_mul(both.clone())
    torch.testing.assert_close(prefill_kernels.silu_and_mul(both), wanted, rtol=1e-5, atol=1e-6)
    heads = torch.randn(2, 5, 9 * 32, generator=generator).unflatten(-1, (9, 32))[:, :, :7]
    cos, sin = (torch.randn(1, 5, 1, 16, generator=generator) for _ in range(2))
    torch.testing.assert_close(prefill_kernels.rotate(heads, cos, sin), rope.rotate(heads, cos, sin))


@pytest.mark.parametrize(("first", "last"), [(True, True), (False, False)])
@torch.inference_mode()
def test_captured_steps_give_what_the_stage_gives(first: bool, last: bool):
    generator = torch.Generator().manual_seed(2)
    plain, plain_cache, fast_cache = stage(first, last), cache(), cache()
    fast = select_runner(stage(first, last), fast_cache, HOST, choice="captured", most=4)
    assert isinstance(fast, CapturedStage)

    def inputs(count: int, tokens: int) -> torch.Tensor:
        if first:
            return torch.randint(0, SHAPE.vocab_size, (count, tokens), generator=generator)
        return torch.randn(count, tokens, SHAPE.hidden, generator=generator)

    def both(rows: tuple[int, ...], start: tuple[int, ...], length: tuple[int, ...]) -> None:
        given = inputs(len(rows), max(length))
        batch = ForwardBatch(rows=rows, start=start, length=length)
        wanted, found = plain(given, batch, plain_cache), fast(given, batch, fast_cache)
        assert wanted.shape == found.shape
        for row, (a, b) in enumerate(zip(wanted, found, strict=True)):
            real = slice(length[row]) if not last else slice(None)  # what stands at padding is meaningless
            torch.testing.assert_close(a[real], b[real], rtol=1e-4, atol=1e-5)

    both((4, 1, 0), (0, 0, 0), (130, 3, 10))  # a prefill, then decode steps of sequences that are unequally far
    for step in range(2):
        both((4, 1, 0), (130 + step, 3 + step, 10 + step), (1, 1, 1))
    both((5,), (0,), (1,))  # one new sequence: the first token of a row
    both((0, 5, 4, 1), (12, 1, 132, 5), (1, 1, 1, 1))
    free = 2  # a row that nothing was put in has not been touched by padding
    torch.testing.assert_close(fast_cache.k_LRKSD[:, free], torch.zeros_like(fast_cache.k_LRKSD[:, free]))
    # beyond the positions of tokens lies what padding of a prefill left, which nothing reads
    for a, b in ((plain_cache.k_LRKSD, fast_cache.k_LRKSD), (plain_cache.v_LRKSD, fast_cache.v_LRKSD)):
        torch.testing.assert_close(a[..., :POSITIONS, :], b[..., :POSITIONS, :], rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_what_was_prepared_for_another_batch_is_not_used():
    generator = torch.Generator().manual_seed(3)
    plain, plain_cache, fast_cache = stage(False, False), cache(), cache()
    fast = select_runner(stage(False, False), fast_cache, HOST, choice="captured", most=2)
    assert isinstance(fast, CapturedStage)
    steps = [((0, 1), (4, 2)), ((1,), (3,)), ((1, 0), (4, 5))]
    batches = [ForwardBatch(rows=rows, start=start, length=(1,) * len(rows)) for rows, start in steps]
    fill = ForwardBatch(rows=(0, 1), start=(0, 0), length=(4, 2))
    for prepared, batch in ((batches[0], fill), (None, batches[0]), (batches[2], batches[1]), (batches[2], batches[2])):
        given = torch.randn(len(batch.rows), max(batch.length), SHAPE.hidden, generator=generator)
        if prepared is not None:
            fast.prepare(prepared)
        wanted, found = plain(given, batch, plain_cache), fast(given, batch, fast_cache)
        for row, length in enumerate(batch.length):
            torch.testing.assert_close(wanted[row, :length], found[row, :length], rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_what_is_no_plain_decode_step_runs_as_ever():
    first, second = cache(), cache()
    fast = select_runner(stage(), first, HOST, choice="captured", most=1)
    batch = ForwardBatch(rows=(0, 1), start=(0, 0), length=(1, 1))  # more sequences than were captured
    given = torch.tensor([[5], [6]])
    torch.testing.assert_close(fast(given, batch, first), stage()(given, batch, second))
    assert fast(given[:1], ForwardBatch(rows=(0,), start=(1,), length=(1,)), first, True).shape == (1, 1, 256)


def test_what_cannot_be_captured_is_said(monkeypatch: pytest.MonkeyPatch):
    small = stage(shape=SHAPES["tiny"])
    assert select_runner(small, cache(SHAPES["tiny"]), HOST, choice="auto", most=1) is small
    with pytest.raises(ValueError, match=r"head_dim is 16, .* choose --decode auto or plain"):
        select_runner(small, cache(SHAPES["tiny"]), HOST, choice="captured", most=1)
    biased = stage(shape=replace(SHAPES["tiny"], mlp_bias=True))
    with pytest.raises(ValueError, match="the model has biases, which the kernels do not add"):
        select_runner(biased, cache(SHAPES["tiny"]), HOST, choice="captured", most=1)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(ValueError, match=re.escape("kernels do not run on device 'cpu'")):
        select_runner(stage(), cache(), HOST, choice="captured", most=1)
    with pytest.raises(ValueError, match="decode is 'quick'; choose auto, captured or plain"):
        EngineConfig(decode="quick")  # type: ignore[arg-type]


@pytest.mark.parametrize(("pp", "tp"), [(2, 1), (1, 2), (2, 2)])
def test_ranks_with_captured_stages_make_the_same_tokens_and_logits(tmp_path: Path, pp: int, tp: int):
    hf = {
        "model_type": "llama",
        "vocab_size": SHAPE.vocab_size,
        "hidden_size": SHAPE.hidden,
        "num_hidden_layers": SHAPE.layers,
        "num_attention_heads": SHAPE.heads,
        "num_key_value_heads": SHAPE.kv_heads,
        "head_dim": SHAPE.head_dim,
        "intermediate_size": SHAPE.intermediate,
        "rms_norm_eps": SHAPE.rms_eps,
        "max_position_embeddings": SHAPE.max_position,
    }
    (tmp_path / "config.json").write_text(json.dumps(hf))
    tokens, logits = [], []
    for decode in ("plain", "captured"):
        sizes = {"pp": pp, "tp": tp, "max_batch": 2, "context_length": 32, "threads": 1}
        kept = tmp_path / decode
        config = EngineConfig(
            model=str(tmp_path), load="random", decode=decode, device="cpu", record_logits=kept, **sizes
        )
        with Engine(config) as engine:
            tokens.append([item.token for item in engine.generate([[1, 2, 3]], max_new_tokens=3)])
        logits.append([batch["logits"] for batch in torch.load(kept)])
    assert tokens[0] == tokens[1] and len(tokens[0]) == len(logits[0]) == 3
    torch.testing.assert_close(logits[0], logits[1], rtol=1e-4, atol=1e-5)
    assert not all(torch.equal(*pair) for pair in zip(*logits, strict=True)), "nothing was captured"
