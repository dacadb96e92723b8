"""Single changes of a library: each differs in one parameter, and those that decide are found."""

from dataclasses import fields

import pytest

from model.program.text_form import parse_program
from model.semantics.libraries import NAMED
from model.semantics.parameters import Semantics
from model.verdict.decide import check
from model.verdict.sensitivity import deciding, variations

SIZES = {"eager_limit", "capacity", "fifo"}
LABELS = {"name", "source", "evidence"}


@pytest.mark.parametrize("library", NAMED.values(), ids=NAMED)
def test_a_variation_changes_one_parameter(library: Semantics) -> None:
    seen = set()
    for variation in variations(library):
        names = {field.name for field in fields(Semantics)} - LABELS
        changed = {name for name in names if getattr(library, name) != getattr(variation.semantics, name)}
        assert changed
        assert changed <= (SIZES if variation.parameter == "buffering" else {variation.parameter})
        assert str(variation) == f"{variation.parameter}: {variation.before} -> {variation.after}"
        seen.add(variation.semantics)
    assert len(seen) == len(list(variations(library))) > 5


def test_what_decides_a_ring_of_sends() -> None:
    program = parse_program("0: send(1); recv(1)\n1: send(0); recv(0)")
    assert [str(item) for item in deciding(program, NAMED["rendezvous"])] == ["buffering: none -> unlimited"]
    decide = [str(item) for item in deciding(program, NAMED["eager"])]
    assert decide == ["connection: warm -> direction", "buffering: eager_limit -1 -> none"]


def test_nothing_decides_what_hangs_everywhere() -> None:
    program = parse_program("0: recv(1); send(1)\n1: recv(0); send(0)")
    for library in NAMED.values():
        assert check(program, library).hangs and deciding(program, library) == ()
