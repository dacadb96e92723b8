"""A pipeline-parallel Llama whose ranks perform the operations that `model` reasons about. See its README.md.

    from reference import Engine, EngineConfig

    if __name__ == "__main__":  # in a script; its ranks are processes that import it again
        with Engine(EngineConfig(model="smollm2", pp=3)) as engine:
            for output in engine.generate(["The capital of France is"], max_new_tokens=8):
                print(output.text, end="")

Every name is loaded when it is first used, and torch with it: what an engine can be told (`EngineConfig`) and what a
request asks for (`SamplingParams`) need none.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reference.config import EngineConfig
    from reference.engine.engine import Engine
    from reference.engine.outputs import TokenOutput
    from reference.scheduling.sampling_params import SamplingParams

_ROOM_OF = {
    "Engine": "reference.engine.engine",
    "EngineConfig": "reference.config",
    "SamplingParams": "reference.scheduling.sampling_params",
    "TokenOutput": "reference.engine.outputs",
}

__all__ = ["Engine", "EngineConfig", "SamplingParams", "TokenOutput"]


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'reference' has no {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(_ROOM_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
