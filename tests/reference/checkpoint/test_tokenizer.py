"""The tokenizer that is built from the GGUF file against transformers' own, and decoding as tokens come."""

import json
import re
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers.pre_tokenizers import ByteLevel

from reference.checkpoint.hf_checkpoint import HfCheckpoint
from reference.checkpoint.loader import RandomCheckpoint, resolve_checkpoint
from reference.checkpoint.tokenizer import LETTERS
from reference.engine.detokenizer import TextStream
from reference.engine.outputs import TokenOutput
from reference.llama.config import SHAPES
from reference.server.openai.format import chat_logprobs, completion_logprobs

TEXTS = [
    "",
    "The capital of France is",
    " leading, trailing  and   inner   blanks ",
    "tabs\tand\n\nnewlines\r\n  \n",
    "It's we'll they'd I'm you've DON'T",
    "12345 67, 3.14159; in 2024 0x1F 1,000,000",
    "naïve café Zürich Ωmega мир 日本語 한국어 العربية हिन्दी",
    "🎉👩‍👩‍👧‍👦🏳️‍🌈 e\u0301 \u200b \ufffd",
    "def f(x):\n    return {'a': x**2 + 1}  # comment\n",
    "<|im_start|>user\nHi<|im_end|>\n<|endoftext|>not <|special|>",
    "aaaaaaaaaaaaaaaaaaaaaaaa!!!!!!!!????....",
]

# SmolLM2 has no token for some bytes: six control characters, and those that begin rare planes of Unicode.
KNOWN = st.characters(exclude_categories=["Cs"], exclude_characters="\x04\x06\x13\x14\x16\x1d", max_codepoint=0x3FFFF)

RUNS = settings(max_examples=150)


@pytest.fixture(scope="module")
def smollm2():
    return resolve_checkpoint("smollm2").tokenizer()


@pytest.fixture(scope="module")
def oracle():
    from transformers import AutoTokenizer

    path = resolve_checkpoint("smollm2").path
    whole = AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)

    def encode(text):
        """Each digit by itself: transformers ignores the split that a GGUF file names, and llama.cpp makes it."""
        return [token for part in re.split(r"(\d)", text) for token in whole.encode(part)]

    return SimpleNamespace(encode=encode, decode=whole.decode)


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_and_text_are_those_of_transformers(smollm2, oracle, text):
    tokens = smollm2.encode(text)
    assert tokens == oracle.encode(text)
    assert smollm2.decode(tokens) == oracle.decode(tokens, skip_special_tokens=True)


@RUNS
@given(text=st.text(KNOWN, max_size=40))
def test_text_comes_back(smollm2, text):
    assert smollm2.decode(smollm2.encode(text)) == text


@RUNS
@given(text=st.text(st.characters(codec="ascii"), max_size=60))
@example(text=" \n0")
@example(text="a  12 \n\n3")
def test_tokens_of_any_ascii_are_those_of_transformers(smollm2, oracle, text):
    assert smollm2.encode(text) == oracle.encode(text)


def test_each_digit_is_a_token(smollm2):
    assert [smollm2.decode([token]) for token in smollm2.encode("a 2024")] == ["a", " ", "2", "0", "2", "4"]
    # a numeral that is no decimal digit is split off, too
    assert smollm2.encode(" ½") == smollm2.encode(" ") + smollm2.encode("½")


@RUNS
@given(text=st.text(KNOWN, max_size=40))
def test_raw_tokens_are_the_bytes_of_the_text(smollm2, text):
    assert b"".join(map(smollm2.raw, smollm2.encode(text))) == text.encode()


def test_the_letters_of_bytes_are_the_librarys():
    assert set(LETTERS) == set(ByteLevel.alphabet()) and sorted(LETTERS.values()) == list(range(256))


def test_log_probabilities_tell_parts_of_a_character_apart(smollm2):
    """Their bytes can be joined, and no two rivals have one name."""
    tokens = smollm2.encode("日")
    assert len(tokens) > 1
    rivals = tuple((token, -1.0 - at) for at, token in enumerate(tokens))
    outputs = [TokenOutput(index=0, token=token, text="", elapsed=0.0, logprob=-1.0, top=rivals) for token in tokens]
    chat = chat_logprobs(smollm2, outputs)["content"]
    assert bytes(byte for item in chat for byte in item["bytes"]).decode() == "日"
    lists = completion_logprobs(smollm2, outputs, 0)
    assert [len(top) for top in lists["top_logprobs"]] == [len(tokens)] * len(tokens)
    assert lists["tokens"] == [item["token"] for item in chat]
    assert all(name.startswith("bytes:\\x") for name in lists["tokens"])


def test_special_tokens_are_one_token_and_no_text(smollm2):
    tokens = smollm2.encode("<|im_start|>hi<|im_end|>")
    assert tokens[0] == 1 and tokens[-1] == 2
    assert smollm2.decode(tokens) == "hi"
    assert smollm2.vocab_size == SHAPES["smollm2"].vocab_size


def test_a_text_that_cannot_fit_is_refused_before_it_is_counted(smollm2):
    spaces = max(n for n in range(1, 200) if len(smollm2.encode(" " * n, bare=True)) == 1)
    assert smollm2.longest >= spaces > 8
    assert len(smollm2.encode(" " * spaces, bare=True, most=1)) == 1, "one token may be as long as that"
    with pytest.raises(ValueError, match="a text of 50000000 bytes makes more tokens than the cache holds"):
        smollm2.encode("a" * 50_000_000, most=100)
    assert smollm2.encode("é" * 40, most=1) == smollm2.encode("é" * 40), "whether it does fit is seen later"


def test_half_a_surrogate_pair_is_no_text(smollm2):
    with pytest.raises(ValueError, match="not valid Unicode at character 2"):
        smollm2.encode("ab\ud800")


def streamed(tokenizer, tokens):
    stream = TextStream(tokenizer)
    return [stream.push(token) for token in tokens] + [stream.finish()]


@RUNS
@given(tokens=st.lists(st.integers(0, SHAPES["smollm2"].vocab_size - 1), max_size=30))
def test_pieces_of_any_tokens_are_the_text_of_all(smollm2, tokens):
    assert "".join(streamed(smollm2, tokens)) == smollm2.decode(tokens)


@RUNS
@given(text=st.text(KNOWN, max_size=30))
def test_pieces_of_a_text_are_whole_characters(smollm2, text):
    pieces = streamed(smollm2, smollm2.encode(text))
    assert "".join(pieces) == text
    assert "\ufffd" in text or not any("\ufffd" in piece for piece in pieces)


def test_a_character_of_several_tokens_comes_when_its_last_does(smollm2):
    tokens = smollm2.encode("🦜!")
    assert len(tokens) > 2, "choose a character that is no token"
    assert streamed(smollm2, tokens) == [""] * (len(tokens) - 2) + ["🦜", "!", ""]


def test_the_rest_of_a_character_that_never_ends_comes_last(smollm2):
    tokens = smollm2.encode("ok 🦜")[:-1]
    pieces = streamed(smollm2, tokens)
    assert "".join(pieces[:-1]) == "ok" + " " * (pieces[-1][:1] != " ") and "\ufffd" in pieces[-1]
    assert "".join(pieces) == smollm2.decode(tokens)


@pytest.fixture(scope="module")
def sentencepiece_like(tmp_path_factory):
    """A folder whose tokenizer marks blanks in its tokens, as Llama 2's does: decoding strips the first one."""
    folder = tmp_path_factory.mktemp("sentencepiece")
    words = {"<s>": 0, "<unk>": 1, "▁Hello": 2, "▁wor": 3, "ld": 4, "<0xE2>": 5, "<0x82>": 6, "<0xAC>": 7, "▁": 8}
    blank = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    content = {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": blank,
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": True, "vocab": words, "merges": []},
    }
    (folder / "tokenizer.json").write_text(json.dumps(content))
    return HfCheckpoint(folder=folder)


@given(words=st.lists(st.sampled_from([[2], [3], [4], [8], [5, 6, 7]]), max_size=12))
def test_pieces_of_a_tokenizer_that_strips_blanks(sentencepiece_like, words):
    tokenizer, tokens = sentencepiece_like.tokenizer(), [token for word in words for token in word]
    assert "".join(streamed(tokenizer, tokens)) == tokenizer.decode(tokens)


def test_a_folder_brings_its_own_tokenizer(sentencepiece_like):
    tokenizer = sentencepiece_like.tokenizer()
    assert streamed(tokenizer, [2, 3, 4, 5, 6, 7]) == ["Hello", " wor", "ld", "", "", "€", ""]
    assert b"".join(map(tokenizer.raw, [4, 5, 6, 7])) == "ld€".encode()
    random = RandomCheckpoint(shape=SHAPES["tiny"], like=sentencepiece_like)
    assert random.tokenizer().vocab_size == 9


def test_a_source_without_a_tokenizer(tmp_path):
    with pytest.raises(ValueError, match="no tokenizer; give the prompt as token ids"):
        RandomCheckpoint(shape=SHAPES["tiny"]).tokenizer()
    with pytest.raises(ValueError, match=r"tokenizer\.json does not exist"):
        HfCheckpoint(folder=tmp_path).tokenizer()
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"')
    with pytest.raises(ValueError, match=r"tokenizer\.json is not a tokenizer"):
        HfCheckpoint(folder=tmp_path).tokenizer()
