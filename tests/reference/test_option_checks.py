"""Options of the wrong type are refused whoever gives them, and old names of them still count."""

import re
import typing
from dataclasses import fields, replace
from pathlib import Path
from types import NoneType
from typing import Any, Literal

import numpy as np
import pytest

from reference.config import DTYPE_NAMES, OLD_NAMES, OLD_VALUES, EngineConfig
from reference.device import DTYPES
from reference.option_checks import check_file
from reference.server.options import ServerOptions

HINTS = {cls: typing.get_type_hints(cls) for cls in (EngineConfig, ServerOptions)}
FIELDS = [(cls, name) for cls, hints in HINTS.items() for name in hints]

WRONG: dict[object, tuple[Any, ...]] = {
    bool: ("no", "", 0, 1, None),
    int: (2.5, "2", True, None, np.float32(2)),
    float: ("30", True, None),
    str: (3, None, b"auto"),
    Path: (3, b"x", True),
}
"""By kind, values that look as if they might do."""


def kinds(hint: Any) -> tuple[Any, ...]:
    """The alternatives of an annotation."""
    return (hint,) if typing.get_origin(hint) is Literal or isinstance(hint, type) else typing.get_args(hint)


def make(cls: type, **given: Any) -> None:
    """An engine's config, or a server's options that are checked, as the command does."""
    made = cls(**given)
    if isinstance(made, ServerOptions):
        made.check()


@pytest.mark.parametrize(("cls", "name"), FIELDS)
def test_every_field_is_held_to_its_annotation(cls: type, name: str) -> None:
    found = kinds(HINTS[cls][name])
    closed = typing.get_origin(found[0]) is Literal
    wrong = (*(f"{value}x" for value in typing.get_args(found[0])), 3, None, True) if closed else WRONG[found[0]]
    for value in wrong:
        if value is None and NoneType in found:
            continue
        with pytest.raises(ValueError, match=rf"^{name} is {re.escape(repr(value))}; (choose|give) ") as refused:
            make(cls, **{name: value})
        assert "\n" not in str(refused.value)
        if closed:
            assert all(choice in str(refused.value) for choice in typing.get_args(found[0]))


@pytest.mark.parametrize(("cls", "name"), FIELDS)
def test_every_default_is_of_its_type(cls: type, name: str) -> None:
    (default,) = (field.default for field in fields(cls) if field.name == name)
    make(cls, **{name: default})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("transport", "sharde", "transport is 'sharde'; choose auto, device, host or shared"),
        ("load", "randm", "load is 'randm'; choose checkpoint or random"),
        ("preflight", "no", "preflight is 'no'; give True or False"),
        ("context_length", 2.5, "context_length is 2.5; give a whole number"),
        ("threads", "2", "threads is '2'; give a whole number, or None"),
    ],
)
def test_the_message_says_what_would_do(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        EngineConfig(**{name: value})


def test_what_is_as_good_as_the_type_is_taken_in_plain_form() -> None:
    made = EngineConfig(model=Path("a/b"), pp=np.int64(2), watchdog=3600, record_logits="logits.pt")  # type: ignore[arg-type]
    assert (made.model, made.pp, made.watchdog, made.record_logits) == ("a/b", 2, 3600, Path("logits.pt"))
    assert type(made.pp) is int


def test_old_names_and_values_still_count() -> None:
    given = {"max_len": 64, "rows": 3, "chunk": 7, "fill": "pack", "max_queue": 9, "record": Path("run")}
    assert given.keys() == OLD_NAMES.keys()
    made = EngineConfig(**given, decode="recorded")  # type: ignore[arg-type]
    assert {name: getattr(made, OLD_NAMES[name]) for name in given} == given
    assert made.decode == "captured" and OLD_VALUES["decode"] == {"recorded": "captured"}
    assert replace(made, context_length=65).context_length == 65
    assert set(OLD_NAMES.values()) | set(OLD_VALUES) <= {field.name for field in fields(EngineConfig)}
    with pytest.raises(ValueError, match="max_len is the old name of context_length, which is given too"):
        EngineConfig(max_len=3, context_length=4)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="max_length"):
        EngineConfig(max_length=3)  # type: ignore[call-arg]


def test_a_file_for_output_is_looked_at_before(tmp_path: Path) -> None:
    check_file("out", tmp_path / "new")
    for path, message in ((tmp_path, "is a folder"), (tmp_path / "no" / "file", "there is no folder")):
        with pytest.raises(ValueError, match=f"^out: .*{message}"):
            check_file("out", path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "fp3"}, "unknown dtype 'fp3'; choose one of auto, float32, "),
        ({"ordering": "partiy"}, "unknown ordering 'partiy'; choose one of send-first, "),
        ({"ordering": "SR", "pp": 3}, "ordering 'SR' has 2 letters for 3 ranks; give 3 letters"),
        ({"semantics": "ncl"}, "unknown semantics 'ncl'; choose one of "),
        ({"semantics": "bounded"}, "unknown semantics 'bounded'; choose one of "),
    ],
)
def test_a_wrong_name_is_refused_when_the_config_is_made(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        EngineConfig(**options)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        replace(EngineConfig(), **options)


def test_right_names_of_dtypes_orderings_and_libraries_are_taken() -> None:
    assert tuple(DTYPES) == DTYPE_NAMES
    for dtype in DTYPE_NAMES:
        EngineConfig(dtype=dtype)
    for ordering in ("parity", "batched", "SRS"):
        EngineConfig(ordering=ordering, pp=3)
    for semantics in ("nccl", "bounded(2)"):
        EngineConfig(semantics=semantics)
