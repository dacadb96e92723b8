"""Which send meets which receive, without running: first in, first out, for programs without wildcards.

The n-th send of a class (communicator, source, destination, tag) meets the n-th receive of that class,
whatever the schedule (statement 1).
"""

from __future__ import annotations

from collections import defaultdict

from model.program.ops import ANY
from model.semantics.instructions import Location, Lowered, Message

MessageClass = tuple[str, int, int, int]


def partners(lowered: Lowered) -> tuple[int | None, ...]:
    """For each message the one it meets, or None where there is none.

    Raises ValueError where a receive has a wildcard.
    """
    if lowered.wild:
        raise ValueError("which send a wildcard receive meets depends on the schedule; use the explorer")
    found: list[int | None] = [None] * len(lowered.messages)
    for sends, recvs in _classes(lowered).values():
        for send, recv in zip(sends, recvs, strict=False):
            found[send], found[recv] = recv, send
    return tuple(found)


def channels(lowered: Lowered) -> dict[tuple[str, int, int], list[int]]:
    """The sends of each channel (communicator, source, destination), in the order in which they are posted."""
    found: dict[tuple[str, int, int], list[int]] = defaultdict(list)
    for number, end in enumerate(lowered.messages):
        if end.sends:
            found[end.channel()].append(number)
    return dict(found)


def probed(lowered: Lowered) -> dict[Location, int | None]:
    """For each probe the send whose being posted lets it pass, or None where there is none.

    Raises ValueError where a probe has a wildcard: then any of several sends lets it pass.
    """
    classes = _classes(lowered)
    found: dict[Location, int | None] = {}
    for number, thread in enumerate(lowered.threads):
        taken: dict[MessageClass, int] = defaultdict(int)
        for at, instruction in enumerate(thread.code):
            if instruction.kind == "recv":
                taken[_class(lowered.messages[instruction.messages[0]])] += 1
            elif instruction.probes is not None:
                if ANY in (instruction.probes.peer, instruction.probes.tag):
                    raise ValueError("which send lets a wildcard probe pass depends on the schedule; use the explorer")
                kind = _class(instruction.probes)
                sends = classes[kind][0] if kind in classes else []
                found[Location(number, at)] = sends[taken[kind]] if taken[kind] < len(sends) else None
    return found


def graphed(lowered: Lowered) -> bool:
    """Whether one graph holds all that can happen: there is no wildcard, not in a probe either."""
    probes = (item.probes for thread in lowered.threads for item in thread.code if item.probes is not None)
    return not lowered.wild and not any(ANY in (probe.peer, probe.tag) for probe in probes)


def _classes(lowered: Lowered) -> dict[MessageClass, tuple[list[int], list[int]]]:
    found: dict[MessageClass, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for number, end in enumerate(lowered.messages):
        found[_class(end)][0 if end.sends else 1].append(number)
    return dict(found)


def _class(end: Message) -> MessageClass:
    return (*end.channel(), end.tag)
