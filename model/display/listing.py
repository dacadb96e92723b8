"""Things that have a name, as a mapping that shows itself with what each is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from textwrap import wrap
from typing import Any, TypeVar

from model.display import html
from model.display.shown import Shown

V = TypeVar("V")


class Listing(Mapping[str, V], Shown):
    """A mapping by name. title: of the names; describe: what is said of each value."""

    def __init__(self, title: str, items: Mapping[str, V], describe: Callable[[V], str]) -> None:
        self._title, self._items, self._describe = title, items, describe

    def __getitem__(self, name: str) -> V:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return str(self)

    def _lines(self) -> Iterator[str]:
        width = max(map(len, self._items), default=0)
        for name, value in self._items.items():
            first, *more = wrap(self._describe(value), 100 - width) or [""]
            yield f"{name:{width}}  {first}"
            yield from (f"{'':{width}}  {line}" for line in more)

    def _parts(self) -> Iterator[str]:
        columns, rows = self._table()
        yield html.table(columns, rows)

    def _table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        return (self._title, ""), [(name, self._describe(value)) for name, value in self._items.items()]
