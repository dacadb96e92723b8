"""Text to tokens and back, whole or as it comes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Digits
from tokenizers.pre_tokenizers import Sequence as InOrder

from reference.checkpoint.gguf_file import GgufFile

INCOMPLETE = "\N{REPLACEMENT CHARACTER}"
"""What a decoder gives for bytes that are not a whole character, perhaps because the rest is still to come."""

BYTE = re.compile("<0x([0-9A-F]{2})>")
"""How vocabularies with byte fallback write a byte."""


def _letters() -> dict[str, int]:
    """The characters that byte-level vocabularies write bytes with: those that print stand for themselves."""
    printing = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printing]
    return {chr(byte): byte for byte in printing} | {chr(256 + at): byte for at, byte in enumerate(others)}


LETTERS = _letters()

CONTROL = 3
"""GGUF's type of tokens that stand for no text."""


class TextTokenizer:
    """A tokenizer. Special tokens count as no text when decoding."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    @property
    def vocab_size(self) -> int:
        """Number of tokens, added ones included."""
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    @cached_property
    def longest(self) -> int:
        """Bytes of the longest token: no text of more bytes is one token."""
        return max(len(piece.encode()) for piece in self._tokenizer.get_vocab(with_added_tokens=True))

    def encode(self, text: str, *, bare: bool = False, most: int | None = None) -> list[int]:
        """The tokens of a text, with those that the model wants in front of one; bare: without them, as for the
        text that a chat template gives, which has its own.

        Raises ValueError on half a surrogate pair, which is what undecodable bytes of a command line become; and
        where the text is so long that it must make more than `most` tokens, without the minutes that it takes to
        count them.
        """
        try:
            size = len(text.encode())
        except UnicodeEncodeError as wrong:
            raise ValueError(f"the text is not valid Unicode at character {wrong.start}; give it as UTF-8") from None
        if most is not None and size > most * self.longest:
            raise ValueError(f"a text of {size} bytes makes more tokens than the cache holds ({most}); shorten it")
        return self._tokenizer.encode(text, add_special_tokens=not bare).ids

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of the tokens; bytes that are no character give the replacement character."""
        return self._tokenizer.decode(tokens, skip_special_tokens=True)

    def piece(self, token: int) -> str:
        """How one token looks on its own, a special one too."""
        return self._tokenizer.decode([token], skip_special_tokens=False)

    def raw(self, token: int) -> bytes:
        """What one token stands for: of a whole character its UTF-8, else the bytes that are its part of one."""
        piece = self.piece(token)
        if INCOMPLETE not in piece:
            return piece.encode()
        written = self._tokenizer.id_to_token(token) or ""
        if byte := BYTE.fullmatch(written):
            return bytes([int(byte[1], 16)])
        return bytes(map(LETTERS.__getitem__, written)) if LETTERS.keys() >= set(written) else piece.encode()


def hf_tokenizer(folder: Path) -> TextTokenizer:
    """The tokenizer of a Hugging Face folder. Raises ValueError where it has none that can be read."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ValueError(f"{path} does not exist; fetch it, or give the prompt as token ids")
    try:
        return TextTokenizer(Tokenizer.from_file(str(path)))
    except Exception as wrong:  # the library raises no narrower class
        raise ValueError(f"{path} is not a tokenizer ({wrong}); fetch the file again") from None


def gguf_tokenizer(file: GgufFile) -> TextTokenizer:
    """Byte-level BPE from the file's vocabulary and merges, split before it as SmolLM2 does: each digit alone.

    Raises ValueError on another kind.
    """
    kind = file.metadata.get("tokenizer.ggml.model"), file.metadata.get("tokenizer.ggml.pre")
    if kind != ("gpt2", "smollm"):
        raise ValueError(f"{file.path}: tokenizer {kind} is not implemented, ('gpt2', 'smollm') is; give token ids")
    tokens, types = file.value("tokenizer.ggml.tokens"), file.value("tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ", 1)) for merge in file.value("tokenizer.ggml.merges")]
    try:
        tokenizer = Tokenizer(BPE({token: number for number, token in enumerate(tokens)}, merges))
    except Exception as wrong:  # the library raises no narrower class
        raise ValueError(f"{file.path}: its vocabulary and merges do not fit ({wrong}); fetch the file again") from None
    tokenizer.pre_tokenizer = InOrder([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False)
            for token, type_ in zip(tokens, types, strict=True)
            if type_ == CONTROL
        ]
    )
    return TextTokenizer(tokenizer)
