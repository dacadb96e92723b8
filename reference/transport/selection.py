"""The way of the tensors from stage to stage: on which devices, through which library, and what that promises."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from reference.device import HOST, HOST_BACKEND, SEMANTICS, Device, select_backend, select_device
from reference.transport import shared_memory

Way = Literal["device", "host", "shared"]
"""device: the library takes tensors where they live. host: they are copied to the host, sent between hosts, and
copied to the device there. shared: the same on one host, where all messages go through memory that processes share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What was chosen. `semantics` is the model's name for what `backend` promises; `device` is the last rank's.
    rings: whether requests go through memory that the ranks share."""

    device: Device
    way: Way
    backend: str
    semantics: str
    rings: bool = False

    @property
    def control(self) -> str:
        """The model's name for what is promised of messages between hosts."""
        return shared_memory.SEMANTICS if self.rings else SEMANTICS[HOST_BACKEND]

    def __str__(self) -> str:
        ways = {
            "device": ", requests through shared memory" if self.rings else "",
            "host": " through the host",
            "shared": " for collectives, shared memory for messages",
        }
        return f"{self.device.kind}, {self.backend}{ways[self.way]}"


def choose_route(
    *,
    device: str,
    transport: str,
    backend: str,
    ranks: int,
    apart: str = "",
    control: str = "auto",
    stages: int = 2,
) -> Route:
    """The way for `ranks` ranks on this host. The arguments are the user's choices, each of which may be `auto`.

    apart: what keeps the ranks from having memory together, if anything does. stages: of the pipeline; one sends no
    requests. Raises ValueError for what cannot be.
    """
    hindrance = apart or ("control 'group'" if control == "group" else "")
    found = _way_of_tensors(device=device, transport=transport, backend=backend, ranks=ranks, apart=hindrance)
    if control == "shared":
        _check_shared("control", apart)
        if found.way == "host":
            raise ValueError("control 'shared' is not for transport 'host'; choose --transport shared, or leave it out")
    own = found.way == "device" and not found.device.is_host and stages > 1
    rings = found.way == "shared" or control == "shared"
    return replace(found, rings=rings or (control == "auto" and own and not apart and shared_memory.possible()))


def _check_shared(option: str, apart: str) -> None:
    shared_memory.check(option)
    if apart:
        raise ValueError(f"{option} 'shared' is not for {apart}; leave it out")


def _way_of_tensors(*, device: str, transport: str, backend: str, ranks: int, apart: str) -> Route:
    """Route without its `rings`.

    An automatic transport is the device's own where each rank has a device to itself and torch was built with the
    library, else through shared memory where that can be and no backend was chosen, else the host's. An automatic
    device is an accelerator where there is one, also a shared one, unless the transport must be the device's. Raises
    ValueError for what cannot be.
    """
    if transport == "shared":
        _check_shared("transport", apart)
        if backend not in ("auto", HOST_BACKEND):
            raise ValueError(f"backend {backend!r} has nothing to carry with transport 'shared'; leave it out")
        return _shared(select_device(device, ranks - 1, shared=True))
    if transport == "host":
        return _route(select_device(device, ranks - 1, shared=True), "host", backend)
    try:
        return _route(select_device(device, ranks - 1), "device", backend)
    except ValueError:
        if transport == "auto" and (found := select_device(device, ranks - 1, shared=True)) and not found.is_host:
            if not apart and backend == "auto" and shared_memory.possible():
                return _shared(found)
            return _route(found, "host", backend)
        if device != "auto":
            raise
    return _route(select_device(HOST), "device", backend)


def _route(device: Device, way: Way, backend: str) -> Route:
    carrier = select_backend(backend, HOST if way == "host" else device.kind)
    return Route(device=device, way=way, backend=carrier, semantics=SEMANTICS[carrier])


def _shared(device: Device) -> Route:
    return Route(device=device, way="shared", backend=HOST_BACKEND, semantics=shared_memory.SEMANTICS)
