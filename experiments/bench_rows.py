"""What the rows of `bench_model` do, once."""

from __future__ import annotations

from typing import Any


def order_space(*, ranks: int) -> dict[str, Any]:
    """All orderings: verdict, makespan, period."""
    from model.orderspace import space

    found = space(ranks)
    return {"orderings": found.orderings, "deadlocks": found.deadlocks, "periods": len(found.period)}
