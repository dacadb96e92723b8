"""Tables for a terminal are those of tabulate, which is not imported for them."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tabulate import tabulate

from model.display.text import table

CELLS = {
    "whole": st.integers(-(10**9), 10**9),
    "floats": st.floats(-1e4, 1e4).map(lambda value: round(value, 3)) | st.just(2e-9),
    "words": st.sampled_from(["send(1) at 0", "circuit", "", "recv(any)", "0, 1", "通信", "1/2", "10.0%"]),
    "whole as text": st.integers(-99, 99).map(str),
    "none or whole": st.none() | st.integers(0, 100),
    "mixed": st.sampled_from(["parity", 3, "4", None]),
    "booleans": st.booleans(),
}


@pytest.mark.parametrize("name", CELLS)
@given(data=st.data())
def test_a_table_is_as_tabulate_writes_it(name: str, data: st.DataObject) -> None:
    rows: Sequence[Sequence[object]] = data.draw(
        st.lists(st.tuples(CELLS["words"], CELLS[name], CELLS[name]), max_size=5)
    )
    headers = data.draw(st.sampled_from([("rank", "is in", ""), ("", "library", "waits for"), ("通", "x", "y")]))
    assert table(headers, rows) == tabulate(rows, headers=headers, tablefmt="simple")
