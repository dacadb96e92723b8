"""What options are held to, whoever gives them: the types of their fields, old names of these, and files for output."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache, wraps
from operator import index
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Options = TypeVar("Options")

_REMEDIES: Mapping[object, str] = {
    bool: "give True or False",
    int: "give a whole number",
    float: "give a number",
    str: "give a text",
    Path: "give a path",
}


def check_types(options: Any) -> None:
    """Holds every field of a dataclass to its annotation: Literal, bool, int, float, str, Path, or one of them or None.

    A whole number of another library becomes an int; a path is taken for a text, and a text for a path. Raises
    ValueError naming the field, its value and what would do.
    """
    cls: Any = type(options)
    for name, kinds in _kinds_of_fields(cls).items():
        value = getattr(options, name)
        for kind in kinds:
            try:
                plain = _as(kind, value)
            except TypeError:
                continue
            object.__setattr__(options, name, plain)
            break
        else:
            raise ValueError(f"{name} is {value!r:.60}; {_remedy(kinds)}")


def check_file(name: str, path: Path) -> None:
    """Raises ValueError, by the name of the option, where no file can be written at the path.

    Called before the work whose result the file shall hold.
    """
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ValueError(f"{name}: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise ValueError(f"{name}: {path} is a folder; give a file")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise ValueError(f"{name}: {path} may not be written; give a file of your own")


def takes_old_names(
    names: Mapping[str, str], values: Mapping[str, Mapping[str, str]]
) -> Callable[[type[Options]], type[Options]]:
    """A decorator: the dataclass is also made with old names of its fields, and old values of them.

    names: old name to field. values: by field, old value to new. ValueError where a field is given by both names.
    """

    def decorate(cls: type[Options]) -> type[Options]:
        init: Callable[..., None] = cls.__init__

        @wraps(init)
        def with_old_names(self: Options, **given: Any) -> None:
            for old, new in names.items():
                if old in given:
                    if new in given:
                        raise ValueError(f"{old} is the old name of {new}, which is given too; give {new} alone")
                    given[new] = given.pop(old)
            for name, renamed in values.items():
                if isinstance(given.get(name), str):
                    given[name] = renamed.get(given[name], given[name])
            init(self, **given)

        cls.__init__ = with_old_names  # type: ignore[method-assign, assignment]
        return cls

    return decorate


@cache
def _kinds_of_fields(cls: type) -> dict[str, tuple[Any, ...]]:
    hints = get_type_hints(cls)
    return {name: get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,) for name, hint in hints.items()}


def _as(kind: Any, value: Any) -> Any:
    """The value, in plain form. Raises TypeError where it is not of this kind."""
    if get_origin(kind) is Literal:
        fits = isinstance(value, str) and value in get_args(kind)
    elif kind is int and not isinstance(value, bool):
        return index(value)
    elif kind is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    elif kind is str:
        return os.fspath(value) if isinstance(value, os.PathLike) else _as_text(value)
    elif kind is Path:
        return Path(value)  # a TypeError where it is neither text nor path
    else:
        assert kind in (bool, int, NoneType), f"an annotation that is not known here: {kind}"
        fits = kind is not int and isinstance(value, kind)
    if not fits:
        raise TypeError
    return value


def _as_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _remedy(kinds: tuple[Any, ...]) -> str:
    """What would do, in words."""
    first = kinds[0]
    if get_origin(first) is Literal:
        *others, last = get_args(first)
        said = f"choose {', '.join(others)} or {last}"
    else:
        said = _REMEDIES[first]
    return f"{said}, or None" if NoneType in kinds else said
