"""reference/README.md names files and folders that exist, and every room; `reference` offers what it says."""

import re
from pathlib import Path

import pytest

import reference

ROOM = Path(reference.__file__).parent
TEXT = (ROOM / "README.md").read_text()
NAMED = sorted(set(re.findall(r"`([a-z_0-9]+(?:/[a-z_0-9]+)*(?:\.py|/))`", TEXT)))


def test_paths_are_named() -> None:
    assert len(NAMED) > 30


@pytest.mark.parametrize("path", NAMED)
def test_every_path_that_is_named_exists(path: str) -> None:
    folder = ROOM.parent if path.startswith("model/") else ROOM
    assert (folder / path).exists(), f"reference/README.md names {path}"


def test_every_room_is_named() -> None:
    rooms = {f"{folder.name}/" for folder in ROOM.iterdir() if (folder / "__init__.py").exists()}
    assert rooms <= set(NAMED)


def test_the_engine_comes_from_the_package() -> None:
    from reference.engine import Engine

    assert reference.Engine is Engine
    with pytest.raises(AttributeError, match="has no 'Motor'; it has Engine"):
        reference.Motor  # noqa: B018
