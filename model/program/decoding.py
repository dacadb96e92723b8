"""JSON of a declared shape. What does not fit is a ValueError of one line: the field, its value, what was expected."""

from __future__ import annotations

import re
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec

from model.program.json_form import short

T = TypeVar("T")

_MESSAGE = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?", re.DOTALL)
_FIELD = re.compile(r"Object (?P<fault>missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL)
_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")

_DEEP = "nested too deeply; give a flat object"


def decode(content: bytes | str, shape: type[T]) -> T:
    """The value of JSON text, in the shape of a msgspec struct. Raises ValueError on anything else."""
    try:
        return msgspec.json.decode(content, type=shape)
    except msgspec.ValidationError as error:
        raise ValueError(_explained(str(error), content, shape)) from None
    except RecursionError:
        raise ValueError(_DEEP) from None
    except ValueError as error:
        why = str(error).removeprefix("JSON is malformed: ")
        raise ValueError(f"no JSON ({why}); it was cut short, or is none") from None


def convert(data: Any, shape: type[T]) -> T:
    """The same of what was decoded already, as `json.loads` gives it."""
    try:
        return msgspec.convert(data, shape)
    except msgspec.ValidationError as error:
        raise ValueError(_explained(str(error), data, shape)) from None


def _explained(message: str, content: Any, shape: type[Any]) -> str:
    """msgspec says what it expected and where; readers also want the value that stands there."""
    match = _MESSAGE.fullmatch(message)
    assert match is not None
    what, path = match["what"], match["path"] or ""
    inside = f" of {path}" if path else ""
    if field := _FIELD.fullmatch(what):
        if field["fault"] == "missing required":
            return f"{field['name']}{inside} is missing; add it"
        known = ", ".join(shape.__struct_fields__)
        return f"unknown field {short(field['name'])}{inside}; " + ("leave it out" if path else f"it has {known}")
    if isinstance(content, bytes | str):
        try:
            content = msgspec.json.decode(content)
        except RecursionError:
            return _DEEP
        except ValueError:  # a number that no type holds
            return f"{path or 'a value'}: {what[0].lower()}{what[1:]}; give a smaller one"
    name, value = _at(content, path)
    if what.startswith("Invalid enum value"):
        choices = get_args(get_type_hints(shape).get(name))
        return f"{name} is {short(value)}; choose one of {', '.join(map(str, choices))}"
    expected = what.split(", got")[0].replace("Expected ", "").replace("`", "")
    if not name:
        return f"{short(value)} stands where {expected} is expected"
    return f"{name} is {short(value)}; give {expected}"


def _at(data: Any, path: str) -> tuple[str, Any]:
    """The value at a path such as `loop.depth` or `device[1]`, or the nearest one around it, with its path."""
    name = ""
    for step in _STEP.finditer(path):
        key: Any = int(step[1]) if step[1] else step[2]
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            break
        name = path[: step.end()]
    return name, data
