"""Imported by the fork server before any rank: the extension, so that ranks have it at once."""

from contextlib import suppress

from reference.packed import load

with suppress(ValueError):  # a rank that needs it says so
    load()
