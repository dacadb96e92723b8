"""model/README.md names files and folders that exist, and every room, in the order of the layers that lint holds."""

import re
import tomllib
from pathlib import Path

import pytest

import model

PACKAGE = Path(model.__file__).parent
TEXT = (PACKAGE / "README.md").read_text()
NAMED = sorted(set(re.findall(r"`([a-z_0-9]+(?:/[a-z_0-9]+)*(?:\.py|\.md|/))`", TEXT)))


@pytest.mark.parametrize("path", NAMED)
def test_every_path_that_is_named_exists(path: str) -> None:
    assert (PACKAGE / path).exists(), f"model/README.md names {path}"


def test_every_room_is_named() -> None:
    rooms = {f"{folder.name}/" for folder in PACKAGE.iterdir() if (folder / "__init__.py").exists()}
    assert rooms <= set(NAMED)


def test_rooms_stand_above_what_they_import() -> None:
    told = re.findall(r"^\| `(\w+)/` \|", TEXT, re.MULTILINE)
    contracts = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (one["layers"] for one in contracts if one["type"] == "layers" and one.get("containers") == ["model"])
    floor = {room.strip("() "): number for number, layer in enumerate(layers) for room in re.split(r"[|:]", layer)}
    numbers = [floor[room] for room in told if room in floor]
    assert len(numbers) > 10 and numbers == sorted(numbers)
