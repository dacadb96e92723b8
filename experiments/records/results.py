"""Result files: stamped JSON with raw samples, written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.records.paths import ResultPaths, shown

Result = Mapping[str, Any]
"""`experiment`, `provenance`, and the experiment's own fields."""


def write(path: Path, *, experiment: str, provenance: Mapping[str, Any], body: Mapping[str, Any]) -> Path:
    """Write a result, one line for each element of a list, so that a diff can be read; returns the path."""
    fields = {"experiment": experiment, "provenance": provenance, **body}
    text = "{\n" + ",\n".join(f"{json.dumps(key)}: {_value(value)}" for key, value in fields.items()) + "\n}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_text(text)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def read(path: Path) -> Result:
    """A result file. Raises ValueError where it is missing, cut short or not a result."""
    remedy = "run `python -m experiments reproduce`"
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        raise ValueError(f"there are no results in {shown(path)}; {remedy}") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{shown(path)} cannot be read ({error}); delete it and {remedy}") from None
    if not isinstance(data, dict) or not {"experiment", "provenance"} <= data.keys():
        raise ValueError(f"{shown(path)} is not a stamped result; delete it and {remedy}")
    return data


def _value(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        return "[\n" + ",\n".join(f"  {json.dumps(item)}" for item in value) + "\n]"
    return json.dumps(value, indent=1)


class ResultStore:
    """The results in one folder."""

    def __init__(self, paths: ResultPaths) -> None:
        self.paths = paths

    def has(self, experiment: str, label: str = "cpu") -> bool:
        """Whether there is a result of the experiment, on the kind of hardware that `label` names."""
        return self.paths.result(experiment, label).exists()

    def load(self, experiment: str, label: str = "cpu") -> Result:
        """The result of the experiment; ValueError as of `read`, or where the file is another experiment's."""
        path = self.paths.result(experiment, label)
        result = read(path)
        if result["experiment"] != experiment:
            raise ValueError(
                f"{shown(path)} is a result of {result['experiment']}; run `python -m experiments {experiment}`"
            )
        return result
