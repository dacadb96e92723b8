"""Checks of the numbers that callers give: of the right type, and not too small."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from model.program.json_form import short


def check_whole(name: str, value: Any, least: int | None = None) -> None:
    """Raises ValueError where a value is no whole number, or less than `least`. A bool is no number."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ValueError(f"{name} is {short(value)}; give a whole number")
    if least is not None and int(value) < least:
        raise ValueError(f"{name} is {value}; give {least} or more")


def check_duration(name: str, value: Any, unit: str = "") -> None:
    """Raises ValueError where a value is no finite number of 0 or more. unit: what stands behind it in the message."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name} is {short(value)}; give a finite number, 0 or more")
    if not 0 <= float(value) < math.inf:
        raise ValueError(f"{name} is {value}{unit}; give a finite number, 0 or more")
