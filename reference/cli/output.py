"""What commands say beside their output, and how they make an engine of their options."""

from __future__ import annotations

import sys
from dataclasses import fields
from typing import TYPE_CHECKING

from reference.config import EngineConfig

if TYPE_CHECKING:
    from reference.engine.engine import Engine


def say(line: str) -> None:
    """Tells people something, beside the output."""
    print(line, file=sys.stderr, flush=True)


def engine_config(command: EngineConfig) -> EngineConfig:
    """The engine's part of a command. Raises ValueError on values out of range.

    Commands check nothing while tyro makes them: it would frame the one line of an error in four others.
    """
    return EngineConfig(**{field.name: getattr(command, field.name) for field in fields(EngineConfig)})


def started(engine: Engine) -> str:
    """One line: what runs, where, and what the model says of it."""
    sizes = "+".join(str(len(layers)) for layers in engine.layers)
    verdict = "no preflight" if engine.prediction is None else f"the model says {engine.prediction.verdict}"
    extension = ", ipex" if engine.ipex else ""
    return (
        f"{engine.config.model}: {sizes} layers on {engine.config.ranks} ranks, {engine.transport}{extension}; "
        f"ordering {engine.ordering.name}, isend as in {engine.semantics!r}: {verdict}"
    )
