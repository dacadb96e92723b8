"""The decode rate as SGLang's scheduler logs it: the fifth figure of `bench_one_batch_server`."""

from __future__ import annotations

INTERVAL = 40
"""Decode batches from one log to the next, SGLang's default."""


class DecodeRate:
    """Counts decoded tokens; every `interval` batches it notes their rate since the note before.

    The first batch ever counted only starts the clock. As in SGLang, the time between two notes counts in full,
    prefills and idleness included.
    """

    def __init__(self, interval: int = INTERVAL) -> None:
        self._interval = interval
        self._since: float | None = None
        self._batches = self._tokens = 0
        self._last = 0.0

    @property
    def last(self) -> float:
        """Tokens per second at the last note; 0 before the first."""
        return self._last

    def add(self, tokens: int, at: float) -> None:
        """A batch gave so many tokens, first tokens of a prompt left out, at this time (seconds, any clock)."""
        if tokens == 0:
            return
        if self._since is None:
            self._since = at
            return
        self._batches += 1
        self._tokens += tokens
        if self._batches >= self._interval and at > self._since:
            self._last = self._tokens / (at - self._since)
            self._since, self._batches, self._tokens = at, 0, 0
