"""Other spellings of options, which are read and not shown: those of SGLang and vLLM, and our own old ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reference.config import OLD_NAMES, OLD_VALUES

OF_OTHER_ENGINES: Mapping[str, str] = {
    # SGLang
    "model-path": "model",
    "pp-size": "pp",
    "tp-size": "tp",
    "pp-async-batch-depth": "depth",
    "random-seed": "seed",
    # vLLM
    "pipeline-parallel-size": "pp",
    "tensor-parallel-size": "tp",
    "max-model-len": "context-length",
    "max-num-seqs": "max-running-requests",
    "max-num-batched-tokens": "chunked-prefill-size",
}
"""Options of the same meaning, by their names there. SGLang also has vLLM's two names of the sizes."""

ALIASES: Mapping[str, str] = {
    **OF_OTHER_ENGINES,
    **{old.replace("_", "-"): new.replace("_", "-") for old, new in OLD_NAMES.items()},
}


def canonical(words: Sequence[str]) -> list[str]:
    """The words of a command line with every option, and every value of one, by its own name.

    Raises ValueError where one option is given by two names: the last would count, and the other be forgotten.
    """
    found: list[str] = []
    spelled: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if name.startswith("--"):
            spelling = name[2:].replace("_", "-")
            option = ALIASES.get(spelling, spelling)
            other = spelled.setdefault(option, spelling)
            if other != spelling:
                raise ValueError(f"--{other} and --{spelling} are one option; give --{option} alone")
            found.append(f"--{option}{equals}{_value(option, value)}")
        else:
            found.append(_value(found[-1][2:], word) if found and found[-1].startswith("--") else word)
    return found


def _value(option: str, value: str) -> str:
    return OLD_VALUES.get(option.replace("-", "_"), {}).get(value, value)
