"""How long a message takes from process to process: two ranks, ping and answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from model.pipelines.serving import CONTROL, DATA, OUTPUT
from model.program.ops import Isend, Recv, Wait

if TYPE_CHECKING:
    from reference.transport.shared_memory import RingSet

PATIENCE_S = 120.0
"""Without a word for so long, a rank is taken to be stuck."""

WARM_UP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is sent: a tensor of the device unless it is `from_host`. It is received on the device unless it `lands`
    on the host, where the transport can do that."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    from_host: bool = False
    lands: bool = False


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
    import torch

    from reference.device import HOST, HOST_BACKEND, select_device
    from reference.ranks import processes
    from reference.transport.host_staged import HostStagedTransport
    from reference.transport.rendezvous import connect_locally, join
    from reference.transport.torch_distributed import TorchTransport

    processes.end_with_parent()
    processes.redirect_stdout()
    timeout = timedelta(seconds=2 * PATIENCE_S)
    where = select_device(device, rank, may_share=not direct)
    backends = {CONTROL: HOST_BACKEND, DATA: where.backend if direct else HOST_BACKEND}
    groups = join(store=connect_locally(port, timeout), rank=rank, ranks=2, backends=backends, timeout=timeout)
    transport: HostStagedTransport | TorchTransport
    ways: dict[str, Any] = dict(groups)
    if rings is not None:
        ways |= dict.fromkeys((CONTROL,) if direct else (CONTROL, DATA), rings.open())
    if direct and rings is None:
        transport = TorchTransport(groups)
    else:
        staged = {DATA} if rings is None else {CONTROL} if direct else {CONTROL, DATA}
        transport = HostStagedTransport(ways, where, staged=staged, collective=direct)
    other = 1 - rank
    for message in messages:
        comm = CONTROL if message.from_host else DATA
        kind = getattr(torch, message.dtype)
        payload = torch.zeros(message.shape, dtype=kind, device=HOST if message.from_host else where.torch)
        on_host = message.from_host or (message.lands and not direct)
        room = torch.empty(message.shape, dtype=kind, device=HOST if on_host else where.torch)
        send = Isend(peer=other, tag=OUTPUT, request=OUTPUT, comm=comm)
        receive, settle = Recv(peer=other, tag=OUTPUT, comm=comm), Wait(requests=(OUTPUT,))
        seconds = []
        for turn in range(-WARM_UP, repeats):
            where.synchronize()
            began = time.perf_counter()
            for op in (send, receive) if rank == 0 else (receive, send):
                transport.perform(op, payload if op is send else room)
            if message.lands:
                room.to(HOST)
            where.synchronize()
            if turn >= 0:
                seconds.append(round((time.perf_counter() - began) / 2, 8))
            transport.perform(settle)
        if rank == 0:
            pipe.send({"name": message.name, "nbytes": payload.nbytes, "seconds": seconds})
    transport.close()
