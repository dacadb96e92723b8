"""How the ranks find each other: a store, the process groups that it makes, and the transport over them."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from datetime import timedelta

import psutil
import torch.distributed as dist

from model.pipelines.serving import CONTROL, DATA
from model.pipelines.tensor_parallel import STAGE_CONTROL, STAGE_DATA
from reference.config import EngineConfig
from reference.device import HOST_BACKEND, Device
from reference.transport.base import Transport
from reference.transport.host_staged import HostStagedTransport
from reference.transport.shared_memory import RingSet
from reference.transport.stage_group import StageGroup
from reference.transport.torch_distributed import TorchTransport
from reference.verification.status_board import StatusBoard

LOOPBACK = "127.0.0.1"

Groups = dict[str, dist.ProcessGroup]
"""By communicator."""


def join_ranks(
    config: EngineConfig, rank: int, *, store: dist.Store, device: Device, board: StatusBoard, timeout: timedelta
) -> tuple[Groups, StageGroup | None]:
    """The groups of the pipeline's messages, and the rank's end of its stage's group where a stage has several ranks.

    Every rank calls it. An operation that waits longer than `timeout` fails, so it must outlast the watchdog.
    """
    backends = {CONTROL: HOST_BACKEND, DATA: config.backend}
    groups = join(store=store, rank=rank, ranks=config.ranks, backends=backends, timeout=timeout)
    if config.tp == 1:
        return groups, None
    backends = {STAGE_CONTROL: HOST_BACKEND, STAGE_DATA: config.backend}
    of_stage = join_stage(rank=rank, stages=config.pp, tp=config.tp, backends=backends, timeout=timeout)
    first = rank - rank % config.tp
    return groups, StageGroup(
        rank=rank,
        ranks=range(first, first + config.tp),
        groups=of_stage,
        board=board,
        via_host=config.backend == HOST_BACKEND and not device.is_host,
        capturable=config.backend == device.backend,
    )


def make_transport(config: EngineConfig, device: Device, groups: Groups, rings: RingSet | None) -> Transport:
    """The transport that was chosen for the engine, over groups and rings that are there."""
    assert (rings is not None) == (config.control == "shared"), "what was chosen is what there is"
    blocking = frozenset({DATA}) if config.blocking_isend else frozenset()
    if rings is not None:
        ring_group = rings.open()
        by_comm = {CONTROL: ring_group, DATA: ring_group if config.transport == "shared" else groups[DATA]}
        staged = [comm for comm, group in by_comm.items() if group is ring_group]
        collective = DATA not in staged or config.tp > 1
        return HostStagedTransport(by_comm, device, staged=staged, collective=collective)
    if config.transport != "device":
        return HostStagedTransport(groups, device, staged={DATA}, blocking=blocking)
    return TorchTransport(groups, blocking)


def join(
    *, store: dist.Store, rank: int, ranks: int, backends: Mapping[str, str], timeout: timedelta
) -> dict[str, dist.ProcessGroup]:
    """A process group of all ranks for each communicator, of the backend named. Every rank calls it.

    An operation that waits longer than `timeout` fails, so it must outlast the watchdog.
    """
    (first, backend), *others = backends.items()
    dist.init_process_group(backend, store=store, rank=rank, world_size=ranks, timeout=timeout)
    world = dist.group.WORLD
    assert world is not None, "just initialised"
    groups = {first: world}
    groups.update((comm, dist.new_group(backend=name, timeout=timeout)) for comm, name in others)
    return groups


def listen_locally() -> tuple[dist.TCPStore, int]:
    """The meeting point of the ranks of one host, and its port, on the loopback interface only."""
    listener = socket.create_server((LOOPBACK, 0))
    port = listener.getsockname()[1]
    store = dist.TCPStore(LOOPBACK, port, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach())
    return store, port


def connect_locally(port: int, timeout: timedelta) -> dist.TCPStore:
    """The meeting point at `port`. The host's messages then stay on the loopback interface, unless told otherwise."""
    names = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
    use_interface(names[0] if names else None)
    return dist.TCPStore(LOOPBACK, port, is_master=False, timeout=timeout)


def use_interface(name: str | None) -> None:
    """Lets messages between hosts go through a network interface, unless the user has named one. Before `join`."""
    if name is not None:
        os.environ.setdefault(f"{HOST_BACKEND.upper()}_SOCKET_IFNAME", name)


def connect_store(
    address: str, port: int, prefix: str, timeout: timedelta, *, is_master: bool = False
) -> dist.PrefixStore:
    """A connection of its own to a launcher's store, for one thread. Raises RuntimeError when nobody answers."""
    store = dist.TCPStore(address, port, is_master=is_master, wait_for_workers=False, timeout=timeout)
    return dist.PrefixStore(prefix, store)


def interface_to(address: str, port: int) -> str | None:
    """The network interface through which this host reaches an address, None where that is unclear."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((address, port))  # sends nothing
            own = probe.getsockname()[0]
    except OSError:
        return None
    interfaces = psutil.net_if_addrs().items()
    return next((name for name, addresses in interfaces if any(own == item.address for item in addresses)), None)


def join_stage(
    *, rank: int, stages: int, tp: int, backends: Mapping[str, str], timeout: timedelta
) -> dict[str, dist.ProcessGroup]:
    """The groups of the rank's stage by communicator, of the backends named. Every rank calls it, after `join`."""
    joined: dict[str, dist.ProcessGroup] = {}
    for comm, backend in backends.items():
        for stage in range(stages):
            ranks = list(range(stage * tp, (stage + 1) * tp))
            group = dist.new_group(ranks, backend=backend, timeout=timeout)  # of every stage: all ranks take part
            if rank in ranks:
                assert group is not None, "a member of it"
                joined[comm] = group
    return joined
