"""How long a message takes from process to process: two ranks, ping and answer."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from model.pipelines.serving import CONTROL, DATA, OUTPUT
from model.program.ops import Isend, Recv, Wait

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

    from reference.device import Device
    from reference.transport.host_staged import HostStagedTransport
    from reference.transport.shared_memory import RingSet
    from reference.transport.torch_distributed import TorchTransport

PATIENCE_S = 120.0
"""Without a word for so long, a rank is taken to be stuck."""

WARM_UP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is sent: a tensor of the device unless it is `from_host`. It is received on the device unless it goes
    `to_host`, where the transport can do that."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    from_host: bool = False
    to_host: bool = False


def ping(
    messages: Sequence[Message], *, device: str, transport: str, rings: bool, repeats: int
) -> list[dict[str, Any]]:
    """For each message its name, bytes, and `seconds`: half of each round trip.

    transport: as of `EngineConfig`; with `device` each process has a device of its own. rings: whether messages between
    hosts go through shared memory. Raises ValueError where a rank dies.
    """
    from reference.ranks import processes
    from reference.transport.rendezvous import listen_locally
    from reference.transport.shared_memory import make_rings

    context = processes.context()
    memory = make_rings(context, stages=2, tp=1) if rings else [None, None]
    _store, port = listen_locally()
    started, pipes = [], []
    try:
        for rank in (0, 1):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_rank,
                args=(rank, port, tuple(messages), device, transport == "device", memory[rank], repeats, theirs),
            )
            process.start()
            theirs.close()
            started.append(process)
            pipes.append(ours)
        found: list[dict[str, Any]] = []
        for _ in messages:
            if not pipes[0].poll(PATIENCE_S):
                raise ValueError(f"no ping came back within {PATIENCE_S:.0f} s; look for what holds the device up")
            found.append(pipes[0].recv())
        return found
    except EOFError:
        raise ValueError("a rank of the ping ended early; its message is above") from None
    finally:
        processes.end(started)


def _rank(
    rank: int,
    port: int,
    messages: Sequence[Message],
    device: str,
    direct: bool,
    rings: RingSet | None,
    repeats: int,
    pipe: Connection,
) -> None:
    """Rank 0 sends and times, rank 1 sends back what came."""
    from reference.device import HOST_BACKEND, select_device
    from reference.ranks import processes
    from reference.transport.rendezvous import connect_locally, join

    processes.end_with_parent()
    processes.redirect_stdout()
    timeout = timedelta(seconds=2 * PATIENCE_S)
    where = select_device(device, rank, may_share=not direct)
    backends = {CONTROL: HOST_BACKEND, DATA: where.backend if direct else HOST_BACKEND}
    groups = join(store=connect_locally(port, timeout), rank=rank, ranks=2, backends=backends, timeout=timeout)
    transport = _transport(groups, where, direct, rings)
    for message in messages:
        nbytes, seconds = _one_ways(message, rank, transport, where, direct=direct, repeats=repeats)
        if rank == 0:
            pipe.send({"name": message.name, "nbytes": nbytes, "seconds": seconds})
    transport.close()


def _transport(
    groups: Mapping[str, ProcessGroup], where: Device, direct: bool, rings: RingSet | None
) -> HostStagedTransport | TorchTransport:
    """As an engine's: direct from device to device, or through the host; rings carry messages between hosts."""
    from reference.transport.host_staged import HostStagedTransport
    from reference.transport.torch_distributed import TorchTransport

    if rings is None:
        return TorchTransport(groups) if direct else HostStagedTransport(groups, where, staged={DATA}, collective=False)
    by_rings = (CONTROL,) if direct else (CONTROL, DATA)
    ways: dict[str, Any] = {**groups, **dict.fromkeys(by_rings, rings.open())}
    return HostStagedTransport(ways, where, staged=set(by_rings), collective=direct)


def _one_ways(
    message: Message,
    rank: int,
    transport: HostStagedTransport | TorchTransport,
    where: Device,
    *,
    direct: bool,
    repeats: int,
) -> tuple[int, list[float]]:
    """The message's bytes, and half of the seconds of each round trip, as this rank sees them."""
    import torch

    from reference.device import HOST

    comm = CONTROL if message.from_host else DATA
    kind = getattr(torch, message.dtype)
    payload = torch.zeros(message.shape, dtype=kind, device=HOST if message.from_host else where.torch)
    on_host = message.from_host or (message.to_host and not direct)
    received = torch.empty(message.shape, dtype=kind, device=HOST if on_host else where.torch)
    send = Isend(peer=1 - rank, tag=OUTPUT, request=OUTPUT, comm=comm)
    receive, wait = Recv(peer=1 - rank, tag=OUTPUT, comm=comm), Wait(requests=(OUTPUT,))
    seconds = []
    for turn in range(-WARM_UP, repeats):
        where.synchronize()
        began = time.perf_counter()
        for op in (send, receive) if rank == 0 else (receive, send):
            transport.perform(op, payload if op is send else received)
        if message.to_host:
            received.to(HOST)
        where.synchronize()
        if turn >= 0:
            seconds.append(round((time.perf_counter() - began) / 2, 8))
        transport.perform(wait)
    return payload.nbytes, seconds
