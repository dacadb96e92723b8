"""The search for an eager limit finds it wherever it lies, without trying all sizes."""

from collections.abc import Generator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.hang_matrix.matrix import Cell
from experiments.hang_matrix.mpich import search_limit
from experiments.lab.errors import ProbesFailed
from experiments.lab.hang_detector import Sample
from tests.experiments import samples


class Library:
    """Passes up to a limit. A group ends with its first hang, as in a Harness."""

    def __init__(self, limit: int, *, unclear: int = -1) -> None:
        self.limit, self.unclear, self.groups = limit, unclear, 0

    def measure(self, plan: Sequence[Cell]) -> Generator[tuple[Cell, Sample]]:
        self.groups += 1
        for cell in plan:
            assert (cell.ordering, cell.ranks, cell.style) == ("send-first", 2, "send")
            hangs = cell.nbytes > self.limit
            yield cell, samples.sample("unclear" if cell.nbytes == self.unclear else "hang" if hangs else "ok")


def search(library: Library, low: int, high: int) -> tuple[int, list[tuple[int, str]]]:
    limit, tried = search_limit(library, low, high)  # type: ignore[arg-type]
    return limit, [(nbytes, str(verdict)) for nbytes, verdict in tried]


@given(data=st.data(), low=st.integers(1, 10**5), width=st.integers(1, 10**6))
def test_the_limit_is_found_wherever_it_lies(data: st.DataObject, low: int, width: int) -> None:
    limit = data.draw(st.integers(low, low + width - 1))
    library = Library(limit)
    found, tried = search(library, low, low + width)
    assert found == limit
    assert dict(tried)[limit] == "ok" and dict(tried)[limit + 1] == "hang"
    assert all(verdict == ("ok" if nbytes <= limit else "hang") for nbytes, verdict in tried)
    assert len(tried) == len(dict(tried)) and library.groups <= 8


@pytest.mark.parametrize(("limit", "words"), [(3, "every size from 5 to 9 bytes hangs"), (10, "9 bytes passes")])
def test_a_limit_outside_of_the_bounds_is_said(limit: int, words: str) -> None:
    with pytest.raises(ProbesFailed, match=f"{words}; try others"):
        search(Library(limit), 5, 9)


def test_an_unclear_probe_ends_the_search() -> None:
    with pytest.raises(ProbesFailed, match="the probe of 5 bytes is unclear: "):
        search(Library(7, unclear=5), 5, 9)


@pytest.mark.parametrize(("low", "high"), [(0, 9), (-1, 9), (5, 5), (9, 5)])
def test_bounds_out_of_order_are_refused(low: int, high: int) -> None:
    with pytest.raises(ValueError, match=rf"limit_between is {low} to {high}; give two sizes, the smaller first"):
        search(Library(7), low, high)
