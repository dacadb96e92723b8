"""A stage that several ranks share: what each holds, and that together they compute what one rank does.

The ranks are threads here, which add up in the order of the ranks; ranks/test_grids.py has processes.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from reference.checkpoint import gguf_file
from reference.checkpoint.gguf_checkpoint import GgufCheckpoint, smollm2_path
from reference.checkpoint.hf_checkpoint import HfCheckpoint
from reference.checkpoint.loader import RandomCheckpoint, load_stage
from reference.checkpoint.state_dict_adapter import state_dict_slices
from reference.llama.attention_metadata import ForwardBatch
from reference.llama.config import SHAPES, LlamaConfig
from reference.llama.kv_cache import KVCache
from reference.llama.tensor_parallel import UNSHARED, TensorParallelRank, check_tp
from tests.patience import stretch
from tests.reference.checkpoints import CPU, Chain, padded, save_llama

TINY = SHAPES["tiny"]
WIDE = replace(TINY, heads=8, kv_heads=4, vocab_size=97, layers=4)
"""Four ranks can share it, and its vocabulary divides by none of their numbers."""

ROUNDING = 32.0
"""Bound of the difference that tensor parallelism makes to a logit, in units of (layers x epsilon of the dtype x
largest logit). A row-parallel product is rounded once more for each rank, and in a layer there are two; the factor
leaves room for how a layer passes errors on."""


class ThreadGroup:
    """One rank of a group of threads."""

    capturable = False

    def __init__(self, rank: int, boards: list[Tensor | None], barrier: threading.Barrier) -> None:
        self._rank, self._boards, self._barrier = rank, boards, barrier

    def _exchange(self, x: Tensor) -> list[Tensor]:
        self._boards[self._rank] = x.clone()
        self._barrier.wait(timeout=stretch(20))
        seen = [tensor for tensor in self._boards if tensor is not None]
        self._barrier.wait(timeout=stretch(20))
        return seen

    def all_reduce(self, x: Tensor) -> Tensor:
        total, *others = self._exchange(x)
        for other in others:
            total = total + other
        return total

    def all_gather(self, x: Tensor) -> Tensor:
        return torch.cat(self._exchange(x), dim=-1)


class Shared:
    """One stage on `tp` threads, each with its cache."""

    def __init__(self, source, tp, dtype=torch.float32, rows=4, max_len=128):
        config = source.config()
        boards, barrier = [None] * tp, threading.Barrier(tp)
        self.pool = ThreadPoolExecutor(tp)
        self.parts = []
        for rank in range(tp):
            shard = TensorParallelRank(rank=rank, size=tp)
            group = ThreadGroup(rank, boards, barrier)
            stage = load_stage(source, config, range(config.layers), True, True, dtype, CPU, shard, group)
            cache = KVCache(shard.shard_config(config), config.layers, rows, max_len, dtype, CPU)
            self.parts.append((stage, cache))

    def __call__(self, tokens, batch):
        def forward(part):
            with torch.inference_mode():
                return part[0](tokens, batch, part[1])

        first, *others = self.pool.map(forward, self.parts)
        assert all(torch.equal(first, other) for other in others), "the ranks would sample different tokens"
        return first


def tied(config: LlamaConfig) -> LlamaConfig:
    return replace(config, tied=True)


BIASED_WIDE = replace(WIDE, attention_bias=True, mlp_bias=True)

STEPS = [
    (padded([[3, 1, 4, 1, 5], [9, 2]]), ForwardBatch(rows=(0, 1), start=(0, 0), length=(5, 2))),
    (padded([[6], [5, 3]]), ForwardBatch(rows=(0, 1), start=(5, 2), length=(1, 2))),
    (padded([[8], [9]]), ForwardBatch(rows=(1, 0), start=(4, 6), length=(1, 1))),
]


@pytest.mark.parametrize("tp", [2, 4])
@pytest.mark.parametrize("shape", [WIDE, tied(WIDE), BIASED_WIDE], ids=["untied", "tied", "biased"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_of_a_shared_stage_are_those_of_one_rank_within_rounding(tp, shape, dtype):
    source = RandomCheckpoint(shape=shape, seed=7)
    one, shared = Chain(source, dtype=dtype), Shared(source, tp, dtype)
    for tokens, batch in STEPS:
        expected, got = one(tokens, batch), shared(tokens, batch)
        assert got.shape == expected.shape == (2, shape.vocab_size)
        bound = ROUNDING * shape.layers * torch.finfo(dtype).eps * expected.abs().max()
        assert (got - expected).abs().max() <= bound
        if dtype is torch.float32:
            assert torch.equal(got.argmax(-1), expected.argmax(-1))


def test_the_bound_is_one_that_a_wrong_part_breaks():
    """Two ranks whose heads are swapped in the output projection are off by far more."""
    source = RandomCheckpoint(shape=WIDE, seed=7)
    one, shared = Chain(source), Shared(source, 2)
    with torch.no_grad():
        left, right = (part[0].layers[3].out for part in shared.parts)
        kept = left.clone()
        left.copy_(right), right.copy_(kept)
    tokens, batch = STEPS[0]
    expected, got = one(tokens, batch), shared(tokens, batch)
    assert (got - expected).abs().max() > 100 * ROUNDING * WIDE.layers * torch.finfo(torch.float32).eps


@pytest.mark.parametrize("kind", ["random", "biased", "folder", "shards", "gguf"])
@pytest.mark.parametrize("tp", [2, 3])
def test_the_parts_of_all_ranks_are_the_whole(tmp_path, kind, tp):
    if kind in ("random", "biased"):
        shape = replace(TINY, heads=6, kv_heads=6, hidden=96, intermediate=96, vocab_size=100)
        biased = kind == "biased"
        source = RandomCheckpoint(shape=replace(shape, attention_bias=biased, mlp_bias=biased))
    elif kind == "gguf":  # blocks of 32 columns: the parts' 192 for tp 3 are whole ones
        source = GgufCheckpoint(path=smollm2_path())
    else:
        options = {"num_attention_heads": 6, "num_key_value_heads": 6, "hidden_size": 48, "tie_word_embeddings": True}
        save_llama(tmp_path, shards="20KB" if kind == "shards" else "5GB", **options)
        source = HfCheckpoint(folder=tmp_path)
    config = source.config()
    if kind == "gguf" and tp == 2:
        with pytest.raises(ValueError, match=r"tp is 2, which does not divide the heads \(9\)"):
            check_tp(config, tp)
        return
    last = range(config.layers - 1, config.layers)

    def pieces(shard):
        stage = load_stage(source, config, last, False, True, torch.float32, CPU, shard)
        assert sum(p.numel() for p in stage.layers.parameters()) < 1.1 / shard.size * whole_size(config)
        return state_dict_slices(stage)

    expected = pieces(UNSHARED)
    parts = [pieces(TensorParallelRank(rank=rank, size=tp)) for rank in range(tp)]
    for name, piece in expected.items():
        held = [part[name] for part in parts if name in part]
        once = name.endswith(("o_proj.bias", "down_proj.bias"))  # added to a sum of all ranks' parts
        assert len(held) == (1 if once else tp), name
        if held[0].whole is None:
            assert all(torch.equal(part.memory, piece.memory) for part in held)
        else:
            joined = torch.cat([part.memory for part in held], dim=held[0].dim)
            assert torch.equal(joined, piece.memory), name


def whole_size(config: LlamaConfig) -> int:
    """Weights of one layer."""
    return replace(config, layers=2).parameters - replace(config, layers=1).parameters


def test_columns_that_cut_a_quantised_block(monkeypatch):
    """The part is cut out of the blocks around it."""
    file = gguf_file.GgufFile.open(smollm2_path())
    whole = file.tensor("blk.3.ffn_down.weight")
    part = file.tensor("blk.3.ffn_down.weight", (slice(2, 5), slice(40, 100)))
    assert (part == whole[2:5, 40:100]).all()


@pytest.mark.parametrize(
    ("changes", "tp", "message"),
    [
        ({}, 4, r"tp is 4, which does not divide the KV heads \(2\) of this model; give 1 or 2$"),
        ({}, 3, r"tp is 3, which does not divide the heads \(4\) of this model; give 1 or 2$"),
        (
            {"intermediate": 129},
            2,
            r"tp is 2, which does not divide the intermediate size \(129\) of this model; give 1",
        ),
        ({"hidden": 63}, 2, r"tp is 2, which does not divide the hidden size \(63\)"),
    ],
)
def test_what_does_not_divide_is_refused_in_one_line(changes, tp, message):
    with pytest.raises(ValueError, match=message):
        TensorParallelRank(rank=0, size=tp).shard_config(replace(TINY, **changes))


def test_eight_ranks_share_llama_8b():
    part = TensorParallelRank(rank=7, size=8).shard_config(SHAPES["llama-3.1-8b"])
    assert (part.heads, part.kv_heads, part.intermediate, part.hidden) == (4, 1, 1792, 4096)


@pytest.mark.parametrize(("length", "size"), [(97, 2), (97, 4), (8, 4), (3, 4)])
def test_cuts_cover_everything_once(length, size):
    cuts = [TensorParallelRank(rank=rank, size=size).slice_of(length) for rank in range(size)]
    assert [n for cut in cuts for n in range(cut.start, cut.stop)] == list(range(length))
