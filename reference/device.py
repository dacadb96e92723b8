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
from torch import Tensor
from torch import dtype as TorchDtype  # inside `Device`, `torch` is where its tensors live

HOST = "cpu"
ACCELERATORS = ("cuda", "xpu")
CHOICES = ("auto", HOST, *ACCELERATORS)

BACKENDS_OF_DEVICE: Mapping[str, tuple[str, ...]] = {
    HOST: ("gloo", "mpi"),
    "cuda": ("nccl", "mpi"),
    "xpu": ("xccl", "mpi"),
}
"""The backends of torch.distributed that carry tensors of a device, the usual one first."""

DEFAULT_BACKENDS: Mapping[str, str] = {kind: carriers[0] for kind, carriers in BACKENDS_OF_DEVICE.items()}
"""The usual backend of a device."""

HOST_BACKEND = DEFAULT_BACKENDS[HOST]
"""Backend of messages between hosts: requests and metadata, whatever the device."""

SEMANTICS: Mapping[str, str] = {"gloo": "gloo", "mpi": "ssend", "nccl": "nccl-cold", "xccl": "xccl-group"}
"""The name in `model.semantics.libraries` of what a backend does for our transport, which joins lazily and sends
messages one by one unless the policy is a group: nccl then makes a communicator for each pair at its first use; xccl
replays a group. Of mpi only the standard's promise counts, as its library is not known: nothing needs to be stored."""

WARM_SEMANTICS: Mapping[str, str] = {"nccl-cold": "nccl"}
"""The model's names for libraries once ranks have used them together, of those whose first use is another matter."""

BACKEND_CHOICES = ("auto", *SEMANTICS)

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

GRAPH_API = ("CUDAGraph", "graph")
"""What is used besides where work can be captured as a graph, which `torch.xpu` does not declare in every version."""

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
        """The usual backend of messages between devices of this kind."""
        return DEFAULT_BACKENDS[self.kind]

    @property
    def ipex_supported(self) -> bool:
        """Whether Intel's extension of torch does anything for such devices."""
        return self.kind in (HOST, "xpu")

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
    def supports_graphs(self) -> bool:
        """Whether work can be captured once and launched as a whole."""
        return self.kind == "cuda"

    @property
    def triton_interpreted(self) -> bool:
        """Whether Triton's kernels run on this host, step by step, as its interpreter does for tests."""
        return self.is_host and os.environ.get("TRITON_INTERPRET") == "1"

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Something that does `work` again, on the same memory: a graph of its kernels, or the work itself.

        `work` is done once or twice by this call, the first time to compile what it needs.
        """
        if not self.supports_graphs:
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

    def host_buffer(self, nbytes: int) -> Tensor:
        """So many bytes of host memory, from and to which the device copies beside its other work."""
        with torch.inference_mode(False):  # or nobody could use it outside of that mode
            return torch.empty(nbytes, dtype=torch.uint8, pin_memory=not self.is_host)

    def synchronize(self) -> None:
        """Makes the host wait for all work of the device."""
        if not self.is_host:
            self._module.synchronize(self.torch)


def select_device(choice: str = "auto", local_rank: int = 0, *, may_share: bool = False) -> Device:
    """The device of a host's `local_rank`-th rank, made current; `auto` takes an accelerator where there is one.

    may_share: whether ranks may share a device, which then goes round; else each has one of its own. Raises
    ValueError when the choice is unknown, when there is no such device, and when there are fewer than ranks.
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
    if local_rank >= count and not may_share:
        raise ValueError(
            f"device {kind!r}: local rank {local_rank} has none, as there are {count}; "
            f"start at most {count} ranks on this host, or choose --transport host, or --device {HOST}"
        )
    device = Device(kind=kind, index=local_rank % count)
    torch.get_device_module(kind).set_device(device.index)
    return device


def select_backend(choice: str, kind: str) -> str:
    """The backend that carries tensors of a kind of device; `auto` takes the usual one.

    Raises ValueError where it is unknown, carries no such tensors, or torch was built without it.
    """
    if choice not in BACKEND_CHOICES:
        raise ValueError(f"unknown backend {choice!r}; choose one of {', '.join(BACKEND_CHOICES)}")
    backend = DEFAULT_BACKENDS[kind] if choice == "auto" else choice
    carriers = BACKENDS_OF_DEVICE[kind]
    if backend not in carriers:
        raise ValueError(
            f"backend {backend!r} carries no tensors of device {kind!r}; choose one of {', '.join(carriers)}, "
            "or --transport host"
        )
    if not torch.distributed.is_backend_available(backend):
        other = "--transport host" if backend == DEFAULT_BACKENDS[kind] else f"--backend {DEFAULT_BACKENDS[kind]}"
        raise ValueError(
            f"device {kind!r}: torch {torch.__version__} was built without {backend}; install a build with it, "
            f"or choose {other}"
        )
    return backend


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
