"""A stored result comes back as it was, or is refused in one line that says what to do."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.catalogue import label_of
from experiments.records import results
from experiments.records.paths import COMMITTED, LOCAL, ROOT, SMOKE, ResultPaths, shown
from experiments.records.results import ResultStore
from tests.experiments import samples

PROVENANCE = samples.STAMP.to_json(arguments={"ranks": (2, 3)}, seed=0, wall_s=1.25)

leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
fields = st.dictionaries(st.text().filter(lambda name: name not in ("experiment", "provenance")), values)


def put(path: Path, **body: Any) -> Path:
    return results.write(path, experiment="orderspace", provenance=PROVENANCE, body=body)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in a folder that is not there yet."""
    return tmp_path_factory.mktemp("results") / "new" / "folder" / "cpu.json"


@settings(max_examples=40)
@given(body=fields)
def test_what_is_written_is_what_is_read(body: dict[str, Any], path: Path) -> None:
    read = results.read(put(path, **body))
    assert read == {"experiment": "orderspace", "provenance": json.loads(json.dumps(PROVENANCE)), **body}
    assert list(path.parent.iterdir()) == [path]


def test_each_element_of_a_list_has_its_own_line(tmp_path: Path) -> None:
    lines = put(tmp_path / "cpu.json", cells=[{"ranks": 2, "samples": [{"verdict": "ok"}]}, {"ranks": 3}]).read_text()
    assert '  {"ranks": 2, "samples": [{"verdict": "ok"}]},\n  {"ranks": 3}\n]' in lines


def test_a_write_that_fails_leaves_the_old_result_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "cpu.json", cells=[])
    before = path.read_text()
    with pytest.raises(TypeError):
        put(path, cells=[object()])

    def full(self: Path, target: Path) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space left"):
        put(path, cells=[1])
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there are no results in .*cpu.json; run `python -m experiments reproduce`"),
        ("", "cannot be read"),
        ('{"experiment": "orderspace", "prov', "cannot be read .*; delete it and run `python -m experiments"),
        ("[]", "is not a stamped result; delete it and run"),
        ('{"experiment": "orderspace", "cells": []}', "is not a stamped result"),
        ('{"experiment": "patterns", "provenance": {}}', "is a result of patterns; run `python -m experiments order"),
    ],
)
def test_what_is_no_result_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    paths = ResultPaths(root=tmp_path)
    path = paths.result("orderspace")
    path.parent.mkdir()
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=message) as refused:
        ResultStore(paths).load("orderspace")
    assert "\n" not in str(refused.value)


def test_a_shelf_has_what_was_written(store: ResultStore, bodies: dict[str, dict[str, Any]]) -> None:
    for name, body in bodies.items():
        assert store.has(name, label_of(name))
        assert {key: store.load(name, label_of(name))[key] for key in body} == json.loads(json.dumps(body))
    assert not store.has("no-such-experiment")


def test_the_places_do_not_meet() -> None:
    paths = [ResultPaths(root=root).result("serving") for root in (COMMITTED, LOCAL, SMOKE)]
    assert len(set(paths)) == 3
    assert [shown(path) for path in paths] == [
        "experiments/results/serving/cpu.json",
        "experiments/results/local/serving/cpu.json",
        ".smoke/serving/cpu.json",
    ]
    assert ResultPaths(root=COMMITTED).figure("serving").suffix == ".png"
    assert ResultPaths(root=COMMITTED).figure("serving", "pdf").name == "serving.pdf"


def test_a_path_is_shown_as_people_type_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert shown(tmp_path / "x") == str(tmp_path / "x")
    monkeypatch.chdir(ROOT / "model")
    assert shown(Path("ops.py")) == "model/ops.py"


@pytest.mark.parametrize("path", sorted(COMMITTED.glob("*/*.json")), ids=lambda path: path.parent.name)
def test_a_committed_result_names_the_code_that_was_run(path: Path) -> None:
    provenance = json.loads(path.read_text())["provenance"]
    assert len(provenance["commit"] or "") == 40
    assert provenance["dirty"] is not True, "run it again from a commit"
