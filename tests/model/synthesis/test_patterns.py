"""Patterns of files: what is read, and what is told of the rest."""

import json
from pathlib import Path

import pytest

from model.synthesis.patterns import Pattern, Transfer, from_json, load


def test_transfers_are_objects_or_pairs(tmp_path: Path) -> None:
    data = {"ranks": 3, "transfers": [[0, 1], {"source": 1, "target": 2, "tag": 4, "nbytes": 8}]}
    expected = Pattern(ranks=3, transfers=(Transfer(source=0, target=1), Transfer(source=1, target=2, tag=4, nbytes=8)))
    assert from_json(data) == expected
    file = tmp_path / "pattern.json"
    file.write_text(json.dumps(data))
    assert load(file) == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"transfers": []}, "ranks is missing"),
        ({"ranks": 3, "transfers": [], "rounds": 2}, "unknown field 'rounds'; it has ranks, transfers"),
        ({"ranks": True, "transfers": []}, "ranks is True; give int"),
        ({"ranks": 3, "transfers": [[0, 1, 2]]}, "transfers[0] is [0, 1, 2]; give array of length 2"),
        ({"ranks": 3, "transfers": [{"source": 1}]}, "target of transfers[0] is missing"),
        (
            {"ranks": 3, "transfers": [{"source": 1, "target": 2, "bytes": 3}]},
            "unknown field 'bytes' of transfers[0]; leave it out",
        ),
        ({"ranks": 3, "transfers": [[0, 3]]}, "there is no rank 3"),
        ({"ranks": 3, "transfers": [[1, 1]]}, "goes to its own sender"),
    ],
)
def test_what_is_no_pattern_is_one_line_that_names_it(tmp_path: Path, data: object, message: str) -> None:
    file = tmp_path / "pattern.json"
    file.write_text(json.dumps(data))
    with pytest.raises(ValueError) as error:
        load(file)
    assert message in str(error.value) and repr(str(file)) in str(error.value)
    assert len(str(error.value).splitlines()) == 1
