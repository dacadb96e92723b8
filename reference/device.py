"""The device of a rank: the one file that names devices and the communication backends that belong to them.

Events, streams and synchronisation go through `torch.get_device_module`, and only through names that
`torch.cuda` and `torch.xpu` both declare (`MODULE_API`). A CPU needs none of them: stand-ins, whose work is
done when they are asked, let the same pipeline run there with any torch version.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
import torch.distributed
from torch import dtype as TorchDtype  # inside `Device`, `torch` is where its tensors live

HOST = "cpu"
ACCELERATORS = ("cuda", "xpu")
CHOICES = ("auto", HOST, *ACCELERATORS)

BACKENDS: Mapping[str, str] = {HOST: "gloo", "cuda": "nccl", "xpu": "xccl"}
"""What torch.distributed calls the backend of a device; `model.semantics` knows its behaviour by the same name."""

HOST_BACKEND = BACKENDS[HOST]
"""Backend of messages between hosts: requests and metadata, whatever the device."""

MODULE_API = (
    "Event",
    "Stream",
    "current_stream",
    "device_count",
    "get_device_name",
    "is_available",
    "set_device",
    "stream",
    "synchronize",
)
"""All that is used of a device module."""

RECORDING_API = ("CUDAGraph", "graph")
"""What is used besides where work can be recorded, which `torch.xpu` does not declare in every version."""

DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


class HostEvent:
    """An event on a device that works in program order: it has always happened."""

    def record(self, stream: object = None) -> None:
        """Marks this place in the stream."""

    def wait(self, stream: object = None) -> None:
        """Makes the stream wait for the mark."""

    def synchronize(self) -> None:
        """Makes the host wait for the mark."""

    def query(self) -> bool:
        """Whether the work before the mark is done."""
        return True


class HostStream:
    """A stream on a device that works in program order: nothing is ever queued."""

    def wait_stream(self, stream: object) -> None:
        """Makes later work of this stream wait for what the other one holds now."""

    def wait_event(self, event: object) -> None:
        """Makes later work of this stream wait for the event."""

    def record_event(self, event: HostEvent | None = None) -> HostEvent:
        """The event, marked in this stream."""
        return event or HostEvent()

    def synchronize(self) -> None:
        """Makes the host wait for all work of this stream."""

    def query(self) -> bool:
        """Whether all work of this stream is done."""
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One rank's device. `index` counts the devices of this host; a CPU is always 0."""

    kind: str
    index: int = 0

    @property
    def torch(self) -> torch.device:
        """Where tensors live."""
        return torch.device(self.kind) if self.is_host else torch.device(self.kind, self.index)

    @property
    def is_host(self) -> bool:
        """Whether tensors live in host memory."""
        return self.kind == HOST

    @property
    def backend(self) -> str:
        """Backend of messages between devices of this kind, and the name of its semantics."""
        return BACKENDS[self.kind]

    @property
    def default_dtype(self) -> TorchDtype:
        """float32 on a CPU, where it is the fastest; bfloat16 elsewhere."""
        return torch.float32 if self.is_host else torch.bfloat16

    @property
    def name(self) -> str:
        """What the maker calls it, for the stamp of a measurement."""
        return self.kind if self.is_host else str(self._module.get_device_name(self.index))

    @property
    def _module(self) -> ModuleType:
        return torch.get_device_module(self.kind)

    # Any: a stream or event is the class of the device's module, or the stand-in.
    def event(self) -> Any:
        """A new event, without timing."""
        return HostEvent() if self.is_host else self._module.Event()

    def timed_event(self) -> Any:
        """A new event that keeps its time; only of an accelerator."""
        return self._module.Event(enable_timing=True)

    def stream(self) -> Any:
        """A new stream."""
        return HostStream() if self.is_host else self._module.Stream(self.torch)

    def current_stream(self) -> Any:
        """The stream on which this thread's work is queued now."""
        return HostStream() if self.is_host else self._module.current_stream(self.torch)

    def on_stream(self, stream: Any) -> AbstractContextManager[Any]:
        """A context whose work is queued on `stream`."""
        return nullcontext() if self.is_host else self._module.stream(stream)

    @property
    def records(self) -> bool:
        """Whether work can be recorded once and launched as a whole."""
        return self.kind == "cuda"

    @property
    def interprets(self) -> bool:
        """Whether Triton's kernels run on this host, step by step, as its interpreter does for tests."""
        return self.is_host and os.environ.get("TRITON_INTERPRET") == "1"

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Something that does `work` again, on the same memory: a graph of its kernels, or the work itself.

        `work` is done once or twice by this call, the first time to compile what it needs.
        """
        if not self.records:
            work()
            return work
        side = self.stream()
        side.wait_stream(self.current_stream())
        with self.on_stream(side):
            work()
        self.current_stream().wait_stream(side)
        graph = self._module.CUDAGraph()
        # Other threads may use the device meanwhile, such as the one that watches a communication library.
        with self._module.graph(graph, capture_error_mode="thread_local"):
            work()
        replay: Callable[[], None] = graph.replay
        return replay

    def synchronize(self) -> None:
        """Makes the host wait for all work of the device."""
        if not self.is_host:
            self._module.synchronize(self.torch)


def select_device(choice: str = "auto", local_rank: int = 0) -> Device:
    """The device of a host's `local_rank`-th rank, made current; `auto` takes an accelerator where there is one.

    Raises ValueError when the choice is unknown, when there is no such device, and when the host has fewer
    of them than ranks.
    """
    if choice not in CHOICES:
        raise ValueError(f"unknown device {choice!r}; choose one of {', '.join(CHOICES)}")
    kind = next((kind for kind in ACCELERATORS if _count(kind)), HOST) if choice == "auto" else choice
    if kind == HOST:
        return Device(kind=HOST)
    count = _count(kind)
    if count == 0:
        raise ValueError(
            f"device {kind!r}: torch {torch.__version__} finds none here; install a build of torch and a driver "
            f"for it, or choose --device {HOST}"
        )
    if local_rank >= count:
        raise ValueError(
            f"device {kind!r}: local rank {local_rank} has none, as there are {count}; "
            f"start at most {count} ranks on this host, or choose --device {HOST}"
        )
    device = Device(kind=kind, index=local_rank)
    if not torch.distributed.is_backend_available(device.backend):
        raise ValueError(
            f"device {kind!r}: torch {torch.__version__} was built without {device.backend}; "
            f"install a build with it, or choose --device {HOST}"
        )
    torch.get_device_module(kind).set_device(local_rank)
    return device


def select_dtype(choice: str, device: Device) -> torch.dtype:
    """The dtype of weights, hidden states and cache; `auto` takes the device's. ValueError on an unknown name."""
    if choice == "auto":
        return device.default_dtype
    if choice not in DTYPES:
        raise ValueError(f"unknown dtype {choice!r}; choose one of auto, {', '.join(DTYPES)}")
    return DTYPES[choice]


def _count(kind: str) -> int:
    module = torch.get_device_module(kind)
    return module.device_count() if module.is_available() else 0
