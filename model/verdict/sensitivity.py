"""What of a library a verdict depends on: its parameters changed one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import get_args

from model.program.checked import Program
from model.semantics.parameters import UNLIMITED, Connection, Grouping, Order, Progress, Returns, Semantics
from model.verdict.decide import check


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """A library with one of its five choices, or its buffering, at another value."""

    parameter: str
    before: str
    after: str
    semantics: Semantics

    def __str__(self) -> str:
        return f"{self.parameter}: {self.before} -> {self.after}"


_CHOICES: Mapping[str, object] = {
    "isend_returns": Returns,
    "progress": Progress,
    "order": Order,
    "connection": Connection,
    "batch": Grouping,
}
_SIZES = ("eager_limit", "capacity", "fifo")


def variations(library: Semantics) -> Iterator[Variation]:
    """The library with one of its five choices changed to every other value, or its three sizes to none or all."""
    assert {*_CHOICES, *_SIZES} <= {field.name for field in fields(Semantics)}
    for parameter, values in _CHOICES.items():
        before = getattr(library, parameter)
        for value in get_args(values):
            if value != before:
                changed = replace(library, name=f"{library.name}, {parameter} {value}", **{parameter: value})
                yield Variation(parameter=parameter, before=before, after=value, semantics=changed)
    sizes = {name: getattr(library, name) for name in _SIZES}
    before = ", ".join(f"{name} {size}" for name, size in sizes.items() if size) or "none"
    if library.buffers:
        yield Variation(parameter="buffering", before=before, after="none", semantics=library.unbuffered())
    if UNLIMITED not in sizes.values():
        all_of_it = replace(library, name=f"{library.name}, unlimited buffering", eager_limit=UNLIMITED)
        yield Variation(parameter="buffering", before=before, after="unlimited", semantics=all_of_it)


def deciding(program: Program, library: Semantics) -> tuple[Variation, ...]:
    """The variations of a library that turn the answer to whether a program hangs."""
    hangs = check(program, library).hangs
    return tuple(
        variation for variation in variations(library) if check(program, variation.semantics).hangs is not hangs
    )
