"""Imported by the fork server before any rank: the extension, so that ranks have it at once."""

from contextlib import suppress

from reference.llama.ipex import load
from reference.ranks import processes

with processes.ended_by_parent(), suppress(ValueError):  # of a failure a rank that needs it speaks
    load()
