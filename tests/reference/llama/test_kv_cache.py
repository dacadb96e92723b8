"""The cache alone: what is written is read, by slices and by numbers."""

import pytest
import torch

from reference.llama.config import SHAPES
from reference.llama.kv_cache import ALIGNMENT, KVCache

CONFIG = SHAPES["tiny"]
CPU = torch.device("cpu")


def cache(**changes):
    return KVCache(CONFIG, **{"layers": 2, "rows": 3, "max_len": 10, "dtype": torch.float32, "device": CPU} | changes)


def states(batch, tokens):
    return torch.randn(2, batch, tokens, CONFIG.kv_heads, CONFIG.head_dim)


def test_its_shape_is_layers_rows_heads_positions_head_dim():
    made = cache(dtype=torch.bfloat16)
    assert made.k_LRKSD.shape == (2, 3, CONFIG.kv_heads, ALIGNMENT, CONFIG.head_dim)
    assert made.v_LRKSD.dtype == torch.bfloat16
    assert not made.k_LRKSD.any()


@pytest.mark.parametrize("max_len", [ALIGNMENT - 1, ALIGNMENT, ALIGNMENT + 1])
def test_every_layer_is_aligned_alike_and_padding_has_a_place(max_len):
    made = cache(max_len=max_len)
    assert made.spare == max_len < made.k_LRKSD.shape[3]
    assert made.k_LRKSD.stride(0) * made.k_LRKSD.element_size() % ALIGNMENT == 0


def test_neighbours_are_written_and_read_by_slices_without_a_copy():
    made, (k, v) = cache(), states(2, 3)
    made.write(1, (slice(1, 3), slice(4, 7)), k, v)
    got_k, got_v = made.read(1, slice(1, 3), 7)
    assert torch.equal(got_k[:, :, 4:].transpose(1, 2), k) and torch.equal(got_v[:, :, 4:].transpose(1, 2), v)
    assert got_k.untyped_storage().data_ptr() == made.k_LRKSD.untyped_storage().data_ptr()
    assert not made.k_LRKSD[0].any() and not made.k_LRKSD[1, 0].any()


def test_any_rows_are_written_and_read_by_number():
    made, (k, v) = cache(), states(2, 2)
    rows = torch.tensor([2, 0])
    made.write(0, (rows[:, None], torch.tensor([[5, 6], [0, made.spare]])), k, v)
    got_k, got_v = made.read(0, rows, 7)
    assert torch.equal(got_k[0, :, 5:7].transpose(0, 1), k[0]) and torch.equal(got_v[1, :, 0], v[1, 0])
    assert not made.k_LRKSD[0, 0, :, 1:10].any(), "padding must not reach a token's position"


def test_bounds_are_assertions():
    with pytest.raises(AssertionError):
        cache().read(0, slice(0, 1), 11)
    with pytest.raises(AssertionError):
        cache(rows=0)
