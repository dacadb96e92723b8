"""Checkpoints that Hugging Face's tools have fetched already: found by name, without any network.

Source: the layout of the cache, as huggingface_hub's documentation gives it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

REPOSITORIES: Mapping[str, str] = {"llama-3.1-8b": "meta-llama/Llama-3.1-8B"}
"""Shapes known by name to the repositories that have their weights."""

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def repository(name: str) -> str | None:
    """The repository that a name stands for: a shape's, with or without capitals, or its own; None for other names."""
    known = REPOSITORIES.get(name.lower())
    return known or (name if _REPOSITORY.fullmatch(name) and not name.startswith((".", "~")) else None)


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the tools keep what they fetch: HF_HUB_CACHE, else `hub` in HF_HOME, else in ~/.cache/huggingface."""
    if environment.get("HF_HUB_CACHE"):
        return Path(environment["HF_HUB_CACHE"]).expanduser()
    home = environment.get("HF_HOME") or Path(environment.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(home).expanduser() / "hub"


def cached(repository: str, cache: Path | None = None) -> Path:
    """The newest fetched folder of a repository's main branch.

    Raises ValueError, saying how to fetch it, where there is none. Whether all files are there is for whoever reads
    them.
    """
    folder = (cache or cache_folder()) / f"models--{repository.replace('/', '--')}"
    main = folder / "refs" / "main"
    if main.is_file():
        snapshot = folder / "snapshots" / main.read_text(encoding="utf-8").strip()
        if (snapshot / "config.json").is_file():
            return snapshot
    raise ValueError(
        f"{repository} is no folder here, nor a fetched model in {folder.parent}; accept its licence and fetch it with "
        f"`hf download {repository}`, name the folder that holds it, or load random weights (--load random)"
    )
