"""Nothing that comes from elsewhere is ever unpickled: clients send JSON, ranks exchange JSON and bare tensors."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import reference

FILES = sorted(Path(reference.__file__).parent.rglob("*.py"))

UNPICKLING = {
    "pickle",
    "marshal",
    "shelve",
    "torch.load",
    "recv",  # a Connection's, which unpickles; recv_bytes does not
    "all_gather_object",
    "broadcast_object_list",
    "gather_object",
    "recv_object_list",
    "scatter_object_list",
    "send_object_list",
}

ALLOWED = {("host_staged.py", "recv")}
"""Bare tensors, of a process group."""


def calls(code: str) -> Iterator[str]:
    """The names of all that is called or imported."""
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Call(func=ast.Attribute(attr=name) as called):
                yield from (name, ast.unparse(called))
            case ast.Call(func=ast.Name(id=name)):
                yield name
            case ast.Import(names=names):
                yield from (item.name for item in names)
            case ast.ImportFrom(module=str(module)):
                yield module


def test_there_are_files_and_such_calls_would_be_seen() -> None:
    assert len(FILES) > 40
    code = "import pickle; torch.load(path); pipe.recv(); dist.broadcast_object_list(items)"
    assert set(calls(code)) & UNPICKLING == {"pickle", "torch.load", "recv", "broadcast_object_list"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_nothing_is_unpickled(file: Path) -> None:
    found = set(calls(file.read_text())) & UNPICKLING
    assert {name for name in found if (file.name, name) not in ALLOWED} == set()
