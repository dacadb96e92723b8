"""JSON of a declared shape: what does not fit is one line that names the field and its value."""

from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from model.program.decoding import convert, decode


class _Inner(Struct, forbid_unknown_fields=True):
    depth: Annotated[int, Meta(ge=0)]


class _Shape(Struct, forbid_unknown_fields=True):
    size: int
    inner: _Inner | None = None
    names: dict[str, str] = {}
    pair: tuple[int, int] | None = None
    mode: Literal["fast", "slow"] = "fast"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no JSON (Input data was truncated); it was cut short, or is none"),
        ("{'size': 1}", "no JSON (object keys must be strings (byte 1)); it was cut short, or is none"),
        ("[1]", "[1] stands where object is expected"),
        ("{}", "size is missing; add it"),
        ('{"size": true}', "size is True; give int"),
        ('{"size": 1, "x": 2}', "unknown field 'x'; it has size, inner, names, pair, mode"),
        ('{"size": 1, "inner": {"depth": -1}}', "inner.depth is -1; give int >= 0"),
        ('{"size": 1, "inner": {}}', "depth of inner is missing; add it"),
        ('{"size": 1, "inner": {"depth": 1, "x": 2}}', "unknown field 'x' of inner; leave it out"),
        ('{"size": 1, "pair": [1, "2"]}', "pair[1] is '2'; give int"),
        ('{"size": 1, "names": {"a": 1}}', "names is {'a': 1}; give str"),
        ('{"size": 1, "mode": "x"}', "mode is 'x'; choose one of fast, slow"),
        ('{"size": 1e999}', "size: number out of range; give a smaller one"),
        ("[" * 100_000, "nested too deeply; give a flat object"),
    ],
)
def test_what_does_not_fit_is_told(content: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        decode(content, _Shape)
    assert str(error.value) == message


def test_what_fits() -> None:
    expected = _Shape(size=1, inner=_Inner(depth=2), names={"a": "b"}, pair=(1, 2))
    data = {"size": 1, "inner": {"depth": 2}, "names": {"a": "b"}, "pair": [1, 2]}
    assert convert(data, _Shape) == decode(b'{"size":1,"inner":{"depth":2},"names":{"a":"b"},"pair":[1,2]}', _Shape)
    assert convert(data, _Shape) == expected


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["size", "inner", "depth", "names", "pair", "mode", "a`b", "0"]), inner, max_size=4
            )
        ),
    )
)
def test_any_data_fits_or_is_told_in_one_line(data: object) -> None:
    try:
        convert(data, _Shape)
    except ValueError as error:
        assert len(str(error).splitlines()) == 1 and len(str(error)) < 300
