"""Data frames, for those who have pandas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any


def data_frame(columns: Sequence[str], rows: Sequence[Sequence[Any]], dtypes: Mapping[str, str] | None = None) -> Any:
    """A `pandas.DataFrame` of these rows; a column without rows has the type of `dtypes`, or object.

    Raises ValueError where pandas is not installed.
    """
    try:
        pandas = import_module("pandas")
    except ImportError:
        raise ValueError("a data frame needs pandas, which is not installed; run: pip install pandas") from None
    frame = pandas.DataFrame.from_records(list(rows), columns=list(columns))
    return frame.astype(dict(dtypes)) if dtypes and not rows else frame
