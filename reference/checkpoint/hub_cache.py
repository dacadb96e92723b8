"""Checkpoints that Hugging Face's tools have fetched already: found by name, without any network."""

from __future__ import annotations

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


def cached(repository: str, cache: Path | None = None) -> Path:
    """The newest fetched folder of a repository's main branch, in the cache that Hugging Face's tools use.

    Raises ValueError, saying how to fetch it, where there is none. Whether all files are there is for whoever reads
    them.
    """
    from huggingface_hub import constants, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(repository, "config.json", cache_dir=cache)
    except HFValidationError as wrong:
        raise ValueError(f"{repository!r} is no repository's name ({str(wrong).splitlines()[0]})") from None
    if isinstance(config, str):
        return Path(config).parent
    raise ValueError(
        f"{repository} is no folder here, nor a fetched model in {cache or constants.HF_HUB_CACHE}; accept its licence "
        f"and fetch it with `hf download {repository}`, name the folder that holds it, or load random weights "
        "(--load random)"
    )
