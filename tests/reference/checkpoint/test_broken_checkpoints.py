"""Checkpoints that are broken: one line says what is wrong with which file."""

import json

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from reference.checkpoint.gguf_checkpoint import GgufCheckpoint
from reference.checkpoint.hf_checkpoint import INDEX, SINGLE, HfCheckpoint
from reference.checkpoint.loader import load_stage
from reference.llama.config import LlamaConfig
from tests.reference.checkpoints import CPU, load, rewrite


def test_a_file_cut_short(single):
    path = single / SINGLE
    whole = path.read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 100, 4, 0):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"model\.safetensors cannot be read .*; fetch the file again"):
            load(HfCheckpoint(folder=single))


def test_a_missing_layer(single):
    tensors = load_file(single / SINGLE)
    gone = [name for name in tensors if name.startswith("model.layers.4.")]
    save_file({name: tensor for name, tensor in tensors.items() if name not in gone}, single / SINGLE)
    load(HfCheckpoint(folder=single), 0, 4)
    with pytest.raises(ValueError, match=r"model\.safetensors: tensor 'model\.layers\.4\.\S+' is missing"):
        load(HfCheckpoint(folder=single))


def test_a_tensor_of_another_shape(single):
    name = "model.layers.1.mlp.down_proj.weight"
    tensors = load_file(single / SINGLE)
    save_file({**tensors, name: tensors[name].T.contiguous()}, single / SINGLE)
    with pytest.raises(ValueError, match=rf"'{name}' has shape \[48, 32\], expected \[32, 48\]"):
        load(HfCheckpoint(folder=single))


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_a_tensor_that_is_quantised(single, dtype):
    tensors = load_file(single / SINGLE)
    save_file({**tensors, "model.norm.weight": torch.ones(32).to(dtype)}, single / SINGLE)
    with pytest.raises(ValueError, match=rf"'model\.norm\.weight' is {dtype}; quantised"):
        load(HfCheckpoint(folder=single))


def test_a_head_that_is_missing_although_the_config_says_untied(single):
    tensors = load_file(single / SINGLE)
    del tensors["lm_head.weight"]
    save_file(tensors, single / SINGLE)
    with pytest.raises(ValueError, match=r"'lm_head\.weight' is missing"):
        load(HfCheckpoint(folder=single))
    rewrite(single, tie_word_embeddings=True)
    assert torch.equal(load(HfCheckpoint(folder=single), 3).head, tensors["model.embed_tokens.weight"])


def test_a_folder_without_weights(single):
    (single / SINGLE).unlink()
    with pytest.raises(ValueError, match=r"holds neither model\.safetensors nor"):
        load(HfCheckpoint(folder=single))


def test_an_index_that_is_broken(sharded):
    index = json.loads((sharded / INDEX).read_text())
    shard = index["weight_map"]["model.norm.weight"]
    (sharded / shard).unlink()
    with pytest.raises(ValueError, match=rf"{shard} does not exist, though {INDEX} names it for "):
        load(HfCheckpoint(folder=sharded))
    del index["weight_map"]["model.layers.0.mlp.up_proj.weight"]
    (sharded / INDEX).write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"'model\.layers\.0\.mlp\.up_proj\.weight' is missing"):
        load(HfCheckpoint(folder=sharded))
    for content in ("{", "{}", "[]", '{"weight_map": 5}', '{"weight_map": {"model.norm.weight": 5}}'):
        (sharded / INDEX).write_text(content)
        with pytest.raises(ValueError, match="is not a safetensors index"):
            load(HfCheckpoint(folder=sharded))


def test_a_gguf_file_that_is_broken(gguf_copy, tmp_path):
    whole = gguf_copy.read_bytes()
    spoiled = {
        "missing": (None, "cannot be read"),
        "empty": (b"", "cannot be read"),
        "short-header": (whole[:200], "header cannot be read"),
        "another-format": (b"PK" + whole[2:], "not a GGUF file"),
        "another-version": (whole[:4] + b"\x09" + whole[5:], "GGUF version 9"),
        "short-data": (whole[:-4], "ends within it"),
    }
    for name, (content, message) in spoiled.items():
        path = tmp_path / f"{name}.gguf"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}\.gguf.*{message}"):
            load(GgufCheckpoint(path=path))


def test_a_gguf_file_of_another_model(tmp_path):
    def write(name, architecture, **metadata):
        writer = gguf.GGUFWriter(tmp_path / name, architecture)
        for key, value in metadata.items():
            writer.add_string(key.replace("__", "."), value)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return GgufCheckpoint(path=tmp_path / name)

    with pytest.raises(ValueError, match="architecture 'mamba' is not implemented"):
        write("mamba.gguf", "mamba").config()
    with pytest.raises(ValueError, match=r"'llama\.attention\.head_count' is missing"):
        write("empty.gguf", "llama").config()
    with pytest.raises(ValueError, match="rope scaling in GGUF"):
        write("stretched.gguf", "llama", llama__rope__scaling__type="yarn").config()


def test_a_gguf_file_with_biases(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "biased.gguf", "llama")
    writer.add_tensor("blk.0.attn_q.bias", np.zeros(32, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ValueError, match=r"biased\.gguf: biases in GGUF \(blk\.0\.attn_q\.bias\) are not implemented"):
        GgufCheckpoint(path=tmp_path / "biased.gguf").config()


def test_a_gguf_tokenizer_whose_merges_are_not_of_its_vocabulary(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "torn.gguf", "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(["a", "b"])
    writer.add_token_types([1, 1])
    writer.add_token_merges(["a ~"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ValueError, match=r"torn\.gguf: its vocabulary and merges do not fit .*fetch the file again"):
        GgufCheckpoint(path=tmp_path / "torn.gguf").tokenizer()


def test_a_gguf_tensor_of_another_shape_or_missing(gguf_copy):
    source = GgufCheckpoint(path=gguf_copy)
    fields = {name: getattr(source.config(), name) for name in LlamaConfig.__slots__}
    for changes, message in (
        ({"vocab_size": 98}, r"'token_embd.weight' has shape \[97, 32\]"),
        ({"layers": 6}, "blk.5"),
    ):
        config = LlamaConfig(**fields | changes)
        with pytest.raises(ValueError, match=message):
            load_stage(source, config, range(config.layers), True, True, torch.float32, CPU)
