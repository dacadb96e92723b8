"""Small Llama checkpoints for tests, made by transformers, the oracle; and one forward of ours over several stages."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reference.checkpoint.loader import Checkpoint, load_stage
from reference.checkpoint.state_dict_adapter import state_dict_slices
from reference.llama.attention_metadata import ForwardBatch
from reference.llama.config import partition_layers
from reference.llama.kv_cache import KVCache
from reference.llama.stage import Stage
from reference.pipeline.output_message import decode_output, encode_output, output_len
from reference.scheduling.request import NewToken, Request
from reference.scheduling.scheduler import Scheduler

CPU = torch.device("cpu")

SMALL: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}


LINEAR_ROPE = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
BIASED = {"attention_bias": True, "mlp_bias": True}


def save_llama(folder: Path, *, shards: str = "5GB", seed: int = 0, **changes: Any) -> Any:
    """Saves a random LlamaForCausalLM of shape `SMALL` with `changes`, and returns it. Weights are large enough
    that its greedy text varies."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(**{**SMALL, "initializer_range": 0.3, **changes})).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.uniform_(0.5, 1.5)
            elif name.endswith(".bias"):
                weight.normal_(0.0, 0.3)
    model.save_pretrained(folder, max_shard_size=shards)
    return model


def oracle_of(source: Checkpoint) -> Any:
    """transformers' Llama in float32 with the weights of a source without rope scaling, as we read them."""
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = source.config()
    assert shape.rope_scaling is None, "not translated here"
    config = LlamaConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        rms_norm_eps=shape.rms_eps,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        tie_word_embeddings=shape.tied,
        max_position_embeddings=shape.max_position,
    )
    model = LlamaForCausalLM(config).eval()
    stage = load_stage(source, shape, range(shape.layers), True, True, torch.float32, CPU)
    weights = {name: part.memory for name, part in state_dict_slices(stage).items()}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and set(missing) <= ({"lm_head.weight"} if shape.tied else set())
    return model


LETTERS = [chr(code) for code in range(ord("!"), ord("~") + 1)] + ["Ġ", "Ċ", "ĉ"]
"""A vocabulary of 97 bytes as a byte-level tokenizer writes them: printable ASCII, then space, line end and tab."""


def save_letters(folder: Path, **changes: Any) -> Any:
    """The same with a tokenizer whose tokens are letters."""
    from tokenizers import Tokenizer
    from tokenizers.decoders import ByteLevel as ByteLevelDecoder
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel

    model = save_llama(folder, **changes)
    tokenizer = Tokenizer(BPE({letter: number for number, letter in enumerate(LETTERS)}, []))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.save(str(folder / "tokenizer.json"))
    return model


TURNS = (
    "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
"""A chat template that these letters can spell."""


def save_chatty(folder: Path) -> None:
    """The same with a chat template, and with room for long texts."""
    save_letters(folder, max_position_embeddings=10000)
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": TURNS, "eos_token": "#"}))


@torch.inference_mode()
def oracle_logits(model: Any, tokens: Tensor) -> Tensor:
    """transformers' logits [B, T, V] for whole prompts [B, T]."""
    return model(tokens, use_cache=False).logits.float()


def oracle_greedy(model: Any, prompt: list[int], count: int) -> list[int]:
    """transformers' next tokens, each from the whole text before it."""
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(int(oracle_logits(model, torch.tensor([tokens]))[0, -1].argmax()))
    return tokens[len(prompt) :]


class Chain:
    """All stages of a source in one process, each with its cache."""

    def __init__(
        self, source: Checkpoint, stages: int = 1, rows: int = 4, max_len: int = 128, dtype: torch.dtype = torch.float32
    ) -> None:
        config = source.config()
        parts = partition_layers(config.layers, stages)
        self.stages: list[Stage] = [
            load_stage(source, config, part, part is parts[0], part is parts[-1], dtype, CPU) for part in parts
        ]
        self.caches = [KVCache(config, len(part), rows, max_len, dtype, CPU) for part in parts]

    @torch.inference_mode()
    def __call__(self, tokens: Tensor, batch: ForwardBatch, every_position: bool = False) -> Tensor:
        """Logits of the last stage."""
        x = tokens
        for stage, cache in zip(self.stages, self.caches, strict=True):
            x = stage(x, batch, cache, every_position=every_position)
        return x

    def greedy(self, prompt: list[int], count: int, row: int = 0) -> list[int]:
        """`count` next tokens by prefill and decode."""
        tokens, new, start = torch.tensor([prompt]), [], 0
        for _ in range(count):
            logits = self(tokens, ForwardBatch(rows=(row,), start=(start,), length=(tokens.shape[1],)))
            start += tokens.shape[1]
            tokens = logits.argmax(-1, keepdim=True)
            new.append(int(tokens))
        return new


def padded(prompts: list[list[int]], pad: int = 0) -> Tensor:
    """Prompts as one tensor [B, T], padded on the right."""
    longest = max(map(len, prompts))
    return torch.tensor([prompt + [pad] * (longest - len(prompt)) for prompt in prompts])


def serve(chain: Chain, requests: list[Request], **sizes: Any) -> dict[int, list[NewToken]]:
    """What one scheduler and one process make of requests that are all there at once: tokens by request."""
    scheduler = Scheduler(**{"slots": 1, "max_batch": 4, "rows": 4, **sizes})
    scheduler.add(requests)
    tokens: dict[int, list[NewToken]] = {request.id: [] for request in requests}
    slot, slots = 0, sizes.get("slots", 1)
    while not scheduler.idle:
        batch = scheduler.schedule(slot)
        if batch is not None:
            forward_batch = ForwardBatch(rows=batch.rows, start=batch.starts, length=batch.lengths)
            logits = chain(torch.tensor(batch.padded()), forward_batch, every_position=batch.scored)
            message = encode_output(batch, logits)
            assert message.shape == (output_len(batch),)
            for token in scheduler.process_output(slot, *decode_output(batch, message)):
                tokens[token.request].append(token)
        slot = (slot + 1) % slots
    return tokens


def load(source: Checkpoint, start: int = 0, stop: int | None = None, dtype: torch.dtype = torch.float32) -> Stage:
    """A stage of layers `start` to `stop`."""
    config = source.config()
    stop = config.layers if stop is None else stop
    return load_stage(source, config, range(start, stop), start == 0, stop == config.layers, dtype, CPU)


def rewrite(folder: Path, remove: Sequence[str] = (), **changes: Any) -> Path:
    """The folder, with its configuration changed."""
    path = folder / "config.json"
    raw = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in raw.items() if key not in remove}))
    return folder
