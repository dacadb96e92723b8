"""What has a name: libraries, and the orderings of a ring."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from model.display.listing import Listing
from model.program.numbers import check_whole
from model.verdict.arguments import LibraryLike, as_library

if TYPE_CHECKING:
    from model.rings.orderings import Ordering
    from model.semantics.parameters import Semantics


def libraries() -> Listing[Semantics]:
    """The named libraries: what each promises, and how that is known.

    >>> import model
    >>> model.libraries()["mpich"].eager_limit
    8112
    """
    from model.semantics.libraries import NAMED

    return Listing("library", NAMED, lambda rules: rules.source)


def library(name: LibraryLike = "rendezvous", **changes: Any) -> Semantics:
    """A library by name, such as nccl or bounded(2), with some of its parameters changed.

    >>> import model
    >>> pair = "0: send(1); recv(1)\\n1: send(0); recv(0)"
    >>> [model.check(pair, model.library("mpich", eager_limit=limit)).verdict for limit in (0, 64)]
    ['deadlock', 'ok']
    """
    rules = as_library(name)
    known = [field.name for field in fields(rules)]
    for parameter in changes:
        if parameter not in known:
            raise ValueError(f"unknown parameter {parameter!r} of a library; choose one of {', '.join(known)}")
    changed = ", ".join(f"{parameter} {value}" for parameter, value in changes.items())
    return replace(rules, **{"name": f"{rules.name}, {changed}", **changes}) if changes else rules


def orderings() -> Listing[Ordering]:
    """The named orderings of a ring: which of its halves each rank does first.

    >>> import model
    >>> model.orderings()["parity"].vector(4)
    'SRSR'
    """
    from model.rings.orderings import NAMED

    return Listing("ordering", NAMED, lambda policy: policy.description)


def vectors(ranks: int) -> list[str]:
    """All 2^ranks orderings of a ring, a letter a rank. Raises ValueError above 20 ranks; `model.space` counts them.

    >>> import model
    >>> stuck = [order for order in model.vectors(6) if model.check(model.ring(order), "rendezvous").hangs]
    >>> stuck
    ['SSSSSS', 'RRRRRR']
    """
    check_whole("ranks", ranks)
    if not 1 <= ranks <= 20:
        raise ValueError(f"ranks is {ranks}; give 1 to 20: there are 2^ranks orderings (model.space counts more)")
    return ["".join(letters) for letters in product("SR", repeat=ranks)]
