"""One program as actors of SimGrid (s4u): when does its last rank end?

This file runs by itself, under the Python that SimGrid's module belongs to, and imports nothing of this repository.
JSON comes on standard input, and one JSON object goes to standard output:

    {"latency": 1000, "per_byte": 2, "overhead": 3, "stored": false, "programs": [[["send", 1, 9], ["recv", 2]], ...]}
    {"version": "3.32.0", "finished": 3, "makespan": 2036.0}

An operation is `["send", peer, bytes]`, `["isend", peer, bytes, request]`, `["recv", peer]`, `["irecv", peer,
request]`, `["wait", request, ...]` or `["compute", ticks]`; durations are in ticks, each a second of SimGrid. stored:
whether every message is stored at once; else every one is a rendezvous. finished: ranks that come to their end.

Each channel has a link of its own, which its messages do not share, so that a message takes
latency + (bytes - 1) * per_byte, as in LogGP without a gap; latency is at least per_byte. The first byte is on the link
too, because SimGrid takes a message of no bytes to be there as soon as its receive is posted, latency or not.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from simgrid import Actor, Engine, Link, LinkInRoute, Mailbox, NetZone, simgrid_version, this_actor

SETTINGS = (
    "network/model:CM02",
    "network/latency-factor:1",
    "network/bandwidth-factor:1",
    "network/weight-S:0",
    "network/crosstraffic:0",
    "network/TCP-gamma:1e30",  # no window: it would bound the bandwidth of links of high latency
)


class Rank:
    """The actor of one rank; `ends` takes the time at which it is through."""

    def __init__(self, number: int, given: dict[str, Any], ends: list[float]) -> None:
        self.number, self.given, self.ends = number, given, ends
        self.contents: list[Any] = []
        self.open: dict[str, Callable[[], float]] = {}  # request: waits for its message, and gives the time it is over

    def __call__(self) -> None:
        if self.given["stored"]:
            for peer in range(len(self.given["programs"])):  # with a receiver of its own a message need not wait for it
                _channel(peer, self.number).set_receiver(Actor.self())
            this_actor.yield_()
        for kind, *operands in self.given["programs"][self.number]:
            getattr(self, kind)(*operands)
        self.ends.append(Engine.clock)

    def send(self, peer: int, nbytes: int) -> None:
        self.isend(peer, nbytes, "")
        self.wait("")

    def recv(self, peer: int) -> None:
        self.irecv(peer, "")
        self.wait("")

    def isend(self, peer: int, nbytes: int, request: str) -> None:
        this_actor.sleep_for(self.given["overhead"])
        message = _channel(self.number, peer).put_init("", max(nbytes, 1))
        stored = self.given["stored"]
        (message.detach if stored else message.start)()

        def over() -> float:
            if not stored:
                message.wait()
            return 0.0  # at the latest now

        self.open[request] = over

    def irecv(self, peer: int, request: str) -> None:
        message, content = _channel(peer, self.number).get_async()
        posted = Engine.clock
        self.contents.append(content)  # SimGrid writes to it when the message arrives

        def over() -> float:
            message.wait()
            return float(max(message.finish_time, posted) + self.given["overhead"])

        self.open[request] = over

    def wait(self, *requests: str) -> None:
        over = max(self.open.pop(request)() for request in requests)
        this_actor.sleep_for(max(over - Engine.clock, 0))

    def compute(self, ticks: float) -> None:
        this_actor.sleep_for(ticks)


def _channel(source: int, target: int) -> Mailbox:
    return Mailbox.by_name(f"{source}>{target}")


def _platform(ranks: int, latency: float, per_byte: float) -> list[Any]:
    """A host for each rank, and a link for each channel."""
    zone = NetZone.create_full_zone("all")
    hosts = [zone.create_host(str(rank), 1e9).seal() for rank in range(ranks)]
    for source in range(ranks):
        for target in range(ranks):
            if source != target:
                link = zone.create_link(f"{source}>{target}", 1 / per_byte)
                link.set_latency(latency - per_byte).set_sharing_policy(Link.FATPIPE, None).seal()
                ends = hosts[source].netpoint, hosts[target].netpoint
                zone.add_route(*ends, None, None, [LinkInRoute(link)], False)
    zone.seal()
    return hosts


def main() -> None:
    given = json.load(sys.stdin)
    engine = Engine(["simgrid", *(f"--cfg={setting}" for setting in SETTINGS)])
    ends: list[float] = []
    for number, host in enumerate(_platform(len(given["programs"]), given["latency"], given["per_byte"])):
        Actor.create(str(number), host, Rank(number, given, ends))
    engine.run()
    found = {"version": simgrid_version, "finished": len(ends), "makespan": max(ends, default=0.0)}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
