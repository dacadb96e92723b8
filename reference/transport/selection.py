"""How tensors travel from stage to stage: on which devices, through which library, and what that promises."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from reference.device import HOST, HOST_BACKEND, SEMANTICS, Device, select_backend, select_device
from reference.transport import shared_memory

TransportKind = Literal["device", "host", "shared"]
"""device: the library takes tensors where they live. host: they are copied to the host, sent between hosts, and
copied to the device there. shared: the same on one host, where all messages go through memory that processes share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportChoice:
    """What was chosen. `semantics` is the model's name for what `backend` promises; `device` is the last rank's.
    rings: whether requests go through memory that the ranks share."""

    device: Device
    kind: TransportKind
    backend: str
    semantics: str
    rings: bool = False

    @property
    def control(self) -> str:
        """The model's name for what is promised of messages between hosts."""
        return shared_memory.RING_SEMANTICS if self.rings else SEMANTICS[HOST_BACKEND]

    def __str__(self) -> str:
        texts = {
            "device": ", requests through shared memory" if self.rings else "",
            "host": " through the host",
            "shared": " for collectives, shared memory for messages",
        }
        return f"{self.device.kind}, {self.backend}{texts[self.kind]}"


def choose_transport(
    *,
    device: str,
    transport: str,
    backend: str,
    ranks: int,
    blocked_by: str | None = None,
    control: str = "auto",
    stages: int = 2,
) -> TransportChoice:
    """The transport of `ranks` ranks on this host. The arguments are the user's choices, each of which may be `auto`.

    blocked_by: what keeps the ranks from having memory together. stages: of the pipeline; one sends no
    requests. Raises ValueError for what cannot be.
    """
    no_memory = blocked_by or ("control 'group'" if control == "group" else None)
    choice = _tensor_transport(device=device, transport=transport, backend=backend, ranks=ranks, blocked_by=no_memory)
    if control == "shared":
        _check_shared("control", blocked_by)
        if choice.kind == "host":
            raise ValueError("control 'shared' is not for transport 'host'; choose --transport shared, or leave it out")
    own = choice.kind == "device" and not choice.device.is_host and stages > 1
    rings = choice.kind == "shared" or control == "shared"
    return replace(choice, rings=rings or (control == "auto" and own and not blocked_by and shared_memory.supported()))


def _check_shared(option: str, blocked_by: str | None) -> None:
    shared_memory.check_supported(option)
    if blocked_by:
        raise ValueError(f"{option} 'shared' is not for {blocked_by}; leave it out")


def _tensor_transport(
    *, device: str, transport: str, backend: str, ranks: int, blocked_by: str | None
) -> TransportChoice:
    """What `choose_transport` gives, without its `rings`.

    An automatic transport is the device's own where each rank has a device to itself and torch was built with the
    library, else through shared memory where that can be and no backend was chosen, else the host's. An automatic
    device is an accelerator where there is one, also a shared one, unless the transport must be the device's. Raises
    ValueError for what cannot be.
    """
    if transport == "shared":
        _check_shared("transport", blocked_by)
        if backend not in ("auto", HOST_BACKEND):
            raise ValueError(f"backend {backend!r} has nothing to carry with transport 'shared'; leave it out")
        return _over_rings(select_device(device, ranks - 1, may_share=True))
    if transport == "host":
        return _over_backend(select_device(device, ranks - 1, may_share=True), "host", backend)
    try:
        return _over_backend(select_device(device, ranks - 1), "device", backend)
    except ValueError:
        if transport == "auto" and (choice := select_device(device, ranks - 1, may_share=True)) and not choice.is_host:
            if not blocked_by and backend == "auto" and shared_memory.supported():
                return _over_rings(choice)
            return _over_backend(choice, "host", backend)
        if device != "auto":
            raise
    return _over_backend(select_device(HOST), "device", backend)


def _over_backend(device: Device, kind: TransportKind, backend: str) -> TransportChoice:
    carrier = select_backend(backend, HOST if kind == "host" else device.kind)
    return TransportChoice(device=device, kind=kind, backend=carrier, semantics=SEMANTICS[carrier])


def _over_rings(device: Device) -> TransportChoice:
    return TransportChoice(device=device, kind="shared", backend=HOST_BACKEND, semantics=shared_memory.RING_SEMANTICS)
