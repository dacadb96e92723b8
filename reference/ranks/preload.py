"""What the fork server imports before it forks ranks. Should the engine end meanwhile, nobody waits for the rest."""

from reference.ranks import processes

with processes.ended_by_parent():
    from reference.ranks import worker

__all__ = ["worker"]
