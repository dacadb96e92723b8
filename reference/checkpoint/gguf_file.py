"""Reads GGUF, the file format of llama.cpp: metadata, and tensors one at a time, dequantised.

The `gguf` package knows every quantisation and is used for that. Its own reader takes seconds over a
vocabulary, in each rank, so the header is parsed here. Source: the GGUF specification, versions 2 and 3.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Metadata value types, as the letters of `struct`."""

STRING, ARRAY = 8, 9
FETCH_OR_INSTALL_AGAIN = "fetch or install the file again"


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufTensor:
    """Where a tensor lies. `shape` is in numpy's order (slowest axis first), `offset` from the file's beginning."""

    shape: tuple[int, ...]
    quantisation: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufFile:
    """An open GGUF file; tensors are read when they are asked for."""

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, GgufTensor]
    content: mmap.mmap

    @classmethod
    def open(cls, path: Path) -> GgufFile:
        """Parses the header. Raises ValueError when the file is missing, cut short or not GGUF."""
        try:
            with path.open("rb") as file:
                content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as wrong:
            raise ValueError(f"{path} cannot be read ({wrong}); {FETCH_OR_INSTALL_AGAIN}") from None
        try:
            metadata, tensors = _Header(content).parse()
        except (struct.error, UnicodeDecodeError, OverflowError, KeyError) as wrong:
            raise ValueError(f"{path}: the header cannot be read ({wrong!r}); {FETCH_OR_INSTALL_AGAIN}") from None
        except ValueError as wrong:
            raise ValueError(f"{path}: {wrong}; {FETCH_OR_INSTALL_AGAIN}") from None
        return cls(path=path, metadata=metadata, tensors=tensors, content=content)

    def value(self, key: str) -> Any:
        """A metadata value; ValueError when the file has none of that name."""
        if key not in self.metadata:
            raise ValueError(f"{self.path}: metadata {key!r} is missing; choose another file")
        return self.metadata[key]

    def entry(self, name: str) -> GgufTensor:
        """Where a tensor lies; ValueError when the file has none of that name."""
        if name not in self.tensors:
            raise ValueError(f"{self.path}: tensor {name!r} is missing; {FETCH_OR_INSTALL_AGAIN}")
        return self.tensors[name]

    def tensor(self, name: str, part: tuple[slice, ...] = ()) -> NDArray[np.float32]:
        """A tensor, or the part of a matrix at the given rows and columns, in float32.

        Only the part's rows, and of these only the blocks of its columns, are read. Raises ValueError when the
        tensor is missing, cut short or of a quantisation unknown to `gguf`.
        """
        entry, gguf = self.entry(name), _gguf()
        try:
            kind = gguf.GGMLQuantizationType(entry.quantisation)
            byte_shape = gguf.quant_shape_to_byte_shape(entry.shape, kind)
            nbytes = int(np.prod(byte_shape))
            if entry.offset + nbytes > len(self.content):
                raise ValueError(f"the file ends within it, {FETCH_OR_INSTALL_AGAIN}")
            raw = np.frombuffer(self.content, np.uint8, nbytes, entry.offset).reshape(byte_shape)
            if len(part) < 2:
                return np.asarray(gguf.dequantize(raw, kind), np.float32)
            rows, columns = part
            block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
            first, last = columns.start // block, -(-columns.stop // block)
            blocks = np.ascontiguousarray(raw[rows, first * block_bytes : last * block_bytes])
            values = np.asarray(gguf.dequantize(blocks, kind), np.float32)
            return values[:, columns.start - first * block : columns.stop - first * block]
        except (NotImplementedError, ValueError) as wrong:
            raise ValueError(f"{self.path}: tensor {name!r}: {wrong}") from None


@cache
def open_gguf(path: Path) -> GgufFile:
    """The file with its parsed header, which weights, shape, tokenizer and chat template share."""
    return GgufFile.open(path)


def _gguf() -> Any:
    try:
        import gguf
    except ImportError:
        raise ValueError("reading a GGUF file needs the package gguf; pip install gguf") from None
    return gguf


class _Header:
    """A cursor over the header of one file."""

    def __init__(self, content: mmap.mmap) -> None:
        self.content, self.at = content, 0

    def parse(self) -> tuple[dict[str, Any], dict[str, GgufTensor]]:
        if self.content[:4] != b"GGUF":
            raise ValueError("this is not a GGUF file")
        self.at = 4
        (version,) = self.take("I")
        if version not in (2, 3):
            raise ValueError(f"GGUF version {version} is not supported, 2 and 3 are")
        tensor_count, metadata_count = self.take("QQ")
        metadata = {}
        for _ in range(metadata_count):
            key = self.string()
            metadata[key] = self.one(*self.take("I"))
        entries = [self.entry() for _ in range(tensor_count)]
        alignment = metadata.get("general.alignment", 32)
        begin = -(-self.at // alignment) * alignment
        return metadata, {
            name: GgufTensor(shape=shape, quantisation=kind, offset=begin + offset)
            for name, shape, kind, offset in entries
        }

    def take(self, letters: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + letters, self.content, self.at)
        self.at += struct.calcsize("<" + letters)
        return values

    def string(self) -> str:
        (length,) = self.take("Q")
        (raw,) = self.take(f"{length}s")
        return str(raw, "utf-8")

    def one(self, kind: int) -> Any:
        if kind == STRING:
            return self.string()
        if kind != ARRAY:
            return self.take(SCALARS[kind])[0]
        kind, count = self.take("IQ")
        return list(self.take(f"{count}{SCALARS[kind]}")) if kind in SCALARS else [self.one(kind) for _ in range(count)]

    def entry(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self.string()
        (dimensions,) = self.take("I")
        shape = self.take(f"{dimensions}Q")
        kind, offset = self.take("IQ")
        return name, shape[::-1], kind, offset
