"""The stage against transformers' Llama, against itself when split, chunked and padded, and its helpers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.checkpoint.hf_checkpoint import HfCheckpoint
from reference.checkpoint.loader import RandomCheckpoint, resolve_checkpoint
from reference.llama.attention_metadata import ForwardBatch
from reference.llama.config import LlamaConfig, partition_layers
from reference.llama.kv_cache import ALIGNMENT
from tests.reference.checkpoints import (
    BIASED,
    LINEAR_ROPE,
    LLAMA3_ROPE,
    Chain,
    oracle_greedy,
    oracle_logits,
    padded,
    save_llama,
)

PROMPT = [3, 1, 4, 1, 5, 92, 65, 35, 89]

SHAPES = {
    "grouped heads": {},
    "one KV head": {"num_key_value_heads": 1},
    "no grouping": {"num_key_value_heads": 4},
    "tied": {"tie_word_embeddings": True},
    "llama 3.1 rope": {"rope_parameters": LLAMA3_ROPE, "hidden_size": 64, "head_dim": 16},
    "linear rope": {"rope_parameters": LINEAR_ROPE},
    "biases": BIASED,
    "biases of attention alone": {"attention_bias": True},
    "heads wider than hidden": {"head_dim": 24},
    "sharded": {"shards": "20KB"},
}
"""Where the names of two differ from `SMALL`."""

SMALL_LLAMA = LlamaConfig(
    vocab_size=97,
    hidden=48,
    layers=5,
    heads=6,
    kv_heads=2,
    head_dim=6,
    intermediate=40,
    rms_eps=1e-5,
    rope_theta=1e4,
    tied=False,
    max_position=256,
)


def whole(prompt, row=0):
    return ForwardBatch(rows=(row,), start=(0,), length=(len(prompt),))


@pytest.fixture
def random_chain():
    """Our own random weights on 1 to 5 stages."""
    return lambda stages=1, **options: Chain(RandomCheckpoint(shape=SMALL_LLAMA, seed=7), stages, **options)


@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES.keys())
def test_greedy_text_and_logits_are_those_of_transformers(tmp_path, changes):
    oracle = save_llama(tmp_path, **changes)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == ("shards" in changes)
    chain = Chain(HfCheckpoint(folder=tmp_path), stages=2)
    logits = chain(torch.tensor([PROMPT]), whole(PROMPT), every_position=True)
    torch.testing.assert_close(logits, oracle_logits(oracle, torch.tensor([PROMPT])), atol=1e-4, rtol=1e-4)
    greedy = chain.greedy(PROMPT, 32, row=1)
    assert greedy == oracle_greedy(oracle, PROMPT, 32)
    assert len(set(greedy)) > 4, "a text that repeats itself shows little"


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("stages", [2, 3, 4, 5])
def test_logits_of_every_split_are_bit_equal(stages, tied):
    shape = LlamaConfig(**{field: getattr(SMALL_LLAMA, field) for field in SMALL_LLAMA.__slots__} | {"tied": tied})
    one, several = (Chain(RandomCheckpoint(shape=shape), count) for count in (1, stages))
    # prefill of two padded prompts, a chunk beside a decode, and a decode of neighbours at one position
    steps = [
        (padded([PROMPT, PROMPT[:4]]), ForwardBatch(rows=(0, 1), start=(0, 0), length=(9, 4))),
        (padded([[7], PROMPT[4:9]]), ForwardBatch(rows=(0, 1), start=(9, 4), length=(1, 5))),
        (padded([[8], [9]]), ForwardBatch(rows=(1, 0), start=(9, 10), length=(1, 1))),
        (padded([[8], [9]]), ForwardBatch(rows=(0, 1), start=(11, 10), length=(1, 1))),
    ]
    for tokens, batch in steps:
        assert torch.equal(one(tokens, batch), several(tokens, batch))


def test_a_stage_leaves_what_it_was_given_alone(random_chain):
    """The transport may still be sending it."""
    chain = random_chain(2)
    tokens, batch = torch.tensor([PROMPT]), whole(PROMPT)
    with torch.inference_mode():
        hidden = chain.stages[0](tokens, batch, chain.caches[0])
        before = hidden.clone()
        chain.stages[1](hidden, batch, chain.caches[1])
    assert torch.equal(hidden, before)


@pytest.mark.parametrize("cut", [1, 4, 8])
def test_chunked_prefill_is_whole_prefill(random_chain, cut):
    chain = random_chain()
    expected = chain(torch.tensor([PROMPT]), whole(PROMPT), every_position=True)
    chain(torch.tensor([PROMPT[:cut]]), ForwardBatch(rows=(2,), start=(0,), length=(cut,)))
    rest = ForwardBatch(rows=(2,), start=(cut,), length=(len(PROMPT) - cut,))
    got = chain(torch.tensor([PROMPT[cut:]]), rest, every_position=True)
    torch.testing.assert_close(got, expected[:, cut:], atol=1e-5, rtol=1e-5)


def test_sequences_of_a_padded_batch_get_what_each_gets_alone(random_chain):
    """Over prefill, then decode; rows neither neighbours nor in order, and one chunk padded beyond the cache's end."""
    prompts, rows, max_len = [(PROMPT * 7)[:61], PROMPT[:2], PROMPT[3:8]], (3, 0, 2), ALIGNMENT - 1
    together, alone = random_chain(max_len=max_len), random_chain(max_len=max_len)
    batch = ForwardBatch(rows=rows, start=(0, 0, 0), length=tuple(map(len, prompts)))
    rounds = [(padded(prompts, pad=50), batch)]
    starts = tuple(map(len, prompts))
    rounds.append((torch.tensor([[11], [12], [13]]), ForwardBatch(rows=rows, start=starts, length=(1, 1, 1))))
    starts = tuple(start + 1 for start in starts)
    chunks = [[21], [22, 23, 24], [25, 26]]  # the first fills its row, its padding would go past the end
    rounds.append((padded(chunks, pad=50), ForwardBatch(rows=rows, start=starts, length=(1, 3, 2))))
    assert starts[0] + 1 == max_len
    for tokens, given_batch in rounds:
        logits = together(tokens, given_batch)
        for b, (row, start, length) in enumerate(
            zip(given_batch.rows, given_batch.start, given_batch.length, strict=True)
        ):
            single = ForwardBatch(rows=(row,), start=(start,), length=(length,))
            expected = alone(tokens[b : b + 1, :length], single)
            torch.testing.assert_close(logits[b : b + 1], expected, atol=1e-5, rtol=1e-5)


def test_a_row_that_is_used_again_forgets_its_past(random_chain):
    chain, fresh = random_chain(), random_chain()
    chain.greedy(PROMPT, 20)
    assert chain.greedy(PROMPT[:3], 10) == fresh.greedy(PROMPT[:3], 10)


@pytest.mark.parametrize(("dtype", "near"), [(torch.bfloat16, 0.1), (torch.float16, 0.02)])
def test_logits_of_a_narrower_dtype_come_near(tmp_path, dtype, near):
    save_llama(tmp_path, initializer_range=0.1)
    exact, narrow = (
        Chain(HfCheckpoint(folder=tmp_path), dtype=of)(torch.tensor([PROMPT]), whole(PROMPT))
        for of in (torch.float32, dtype)
    )
    assert narrow.dtype == torch.float32 and not torch.equal(narrow, exact)
    assert (narrow - exact).abs().max() < near * exact.std()


def test_smollm2_knows_the_capital_of_france():

    source = resolve_checkpoint("smollm2")
    tokenizer = source.tokenizer()
    chain = Chain(source, stages=4, rows=1, max_len=64)
    assert [len(stage.layers) for stage in chain.stages] == [8, 8, 7, 7]
    assert "Paris" in tokenizer.decode(chain.greedy(tokenizer.encode("The capital of France is"), 8))


@given(layers=st.integers(1, 100), stages=st.integers(1, 100))
def test_partition_covers_every_layer_once_and_evenly(layers, stages):
    if stages > layers:
        with pytest.raises(ValueError, match=f"at most {layers}"):
            partition_layers(layers, stages)
        return
    parts = partition_layers(layers, stages)
    assert [layer for part in parts for layer in part] == list(range(layers))
    sizes = [len(part) for part in parts]
    assert len(sizes) == stages and sizes == sorted(sizes, reverse=True) and sizes[0] - sizes[-1] <= 1


def test_no_stage_is_no_pipeline():
    with pytest.raises(ValueError, match="0 pipeline stages"):
        partition_layers(4, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows": (0, 0), "start": (0, 0), "length": (1, 1)},
        {"rows": (0,), "start": (0, 0), "length": (1,)},
        {"rows": (0,), "start": (-1,), "length": (1,)},
        {"rows": (0,), "start": (0,), "length": (0,)},
        {"rows": (), "start": (), "length": ()},
    ],
)
def test_a_batch_that_is_none_is_an_assertion(wrong):
    with pytest.raises(AssertionError):
        ForwardBatch(**wrong)


@pytest.mark.parametrize(
    ("batch", "tokens"),
    [
        (ForwardBatch(rows=(0,), start=(10,), length=(2,)), 2),
        (ForwardBatch(rows=(4,), start=(0,), length=(1,)), 1),
        (ForwardBatch(rows=(-1,), start=(0,), length=(1,)), 1),
        (ForwardBatch(rows=(0,), start=(0,), length=(3,)), 2),
    ],
    ids=["past the cache's end", "row beyond", "row before", "longer than its tokens"],
)
def test_a_batch_outside_of_the_cache_is_an_assertion(random_chain, batch, tokens):
    with pytest.raises(AssertionError):
        random_chain(max_len=11)(torch.ones(1, tokens, dtype=torch.int64), batch)
