"""What ends a measurement: an error that the command line tells from bad usage."""

from __future__ import annotations


class ProbesFailed(RuntimeError):
    """So many probes were unclear that something is wrong with the library or the machine."""
