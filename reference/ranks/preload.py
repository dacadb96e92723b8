"""What the fork server imports before it forks ranks. Should the engine end meanwhile, nobody waits for the rest."""

from contextlib import suppress

from reference.ranks import processes

with processes.die_with_parent():
    from reference.llama import ipex
    from reference.ranks import worker

    if ipex.worth_preloading():
        with suppress(ValueError):  # a rank that needs it reports the failure
            ipex.import_ipex()

__all__ = ["worker"]
