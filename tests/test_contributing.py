"""CONTRIBUTING.md and the READMEs name files that are there, and targets that make has."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("CONTRIBUTING.md", "experiments/README.md")


def named(text: str) -> set[str]:
    """Paths in backticks: with a slash, or with a known ending."""
    words = re.findall(r"`([\w./-]+)`", text)
    return {word for word in words if "/" in word or word.endswith((".py", ".toml", ".txt", ".yml", ".md"))}


@pytest.mark.parametrize("page", PAGES)
def test_every_path_is_there(page: str) -> None:
    paths = named((ROOT / page).read_text())
    assert len(paths) > 5
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []


def test_the_readme_says_where_to_start_reading() -> None:
    """The last column of its table of folders: each path from the folder of its row."""
    text = (ROOT / "README.md").read_text()
    section = text.split("\n## Where things are\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([\w/]+)` \|.*\|([^|]*)\|$", section, re.MULTILINE)
    named_in = {folder: re.findall(r"`([^`]+)`", last) for folder, last in rows}
    assert {"model/", "model/proof/", "reference/", "experiments/"} <= set(named_in)
    assert all(named_in.values())
    paths = [folder + name for folder, names in named_in.items() for name in names]
    assert sorted(path for path in paths if not (ROOT / path).is_file()) == []
    links = re.findall(r"\]\(([\w./-]+)\)", section)
    assert len(links) > 3 and all((ROOT / link).is_file() for link in links)


@pytest.mark.parametrize("page", ["model/proof/README.md", "model/proof/serving/Serving.v"])
def test_the_proofs_name_python_files_that_are_there(page: str) -> None:
    paths = re.findall(r"\b(?:model|tests)/[\w/]+\.py\b", (ROOT / page).read_text())
    assert paths and [path for path in paths if not (ROOT / path).is_file()] == []


def test_every_name_in_a_file_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for name, path in re.findall(r"`([A-Z]\w+)` in `([\w/]+\.py)`", text):
        assert re.search(rf"\b{name}\b", (ROOT / path).read_text()), (name, path)
    device = (ROOT / "reference/device.py").read_text()
    assert all(f"\n{name}" in device for name in ("ACCELERATORS", "BACKENDS_OF_DEVICE", "SEMANTICS"))


def test_every_target_is_one_of_make() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = set(re.findall(r"^make ([a-z-]+)", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE))
    assert asked and asked <= targets


def test_it_is_one_page() -> None:
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) < 80


def test_lint_runs_the_contracts_of_imports() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert len(contracts) >= 6 and "lint-imports" in (ROOT / "Makefile").read_text()
