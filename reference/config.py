"""What an engine can be told. The command line comes from these fields; imports no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from model.rings.orderings import output_policy
from model.semantics.libraries import semantics
from reference.option_checks import check_types, takes_old_names

HEARTBEAT = 0.25
"""Seconds after which an idle rank 0 goes around the loop all the same, so that silence always means trouble."""

DAY = 86400.0
"""Seconds; no time-out is longer, so that those of the libraries, which are whole numbers of a few bytes, hold it."""

MAX_THREADS = 1024
"""More than a host has cores; some systems refuse to start many more."""

MAX_DEPTH = 1000
"""Far more microbatches than any cache has room for; the preflight still takes only a second or two."""

DTYPE_NAMES = ("float32", "bfloat16", "float16")
"""Those of `reference.device.DTYPES`, which needs torch."""

OLD_NAMES: Mapping[str, str] = {
    "max_len": "context_length",
    "rows": "max_running_requests",
    "chunk": "chunked_prefill_size",
    "fill": "batch_fill",
    "max_queue": "max_queued_requests",
    "record": "trace",
}
"""Fields by the names that they once had, which still count."""

OLD_VALUES: Mapping[str, Mapping[str, str]] = {"decode": {"recorded": "captured"}}
"""Values likewise, by field."""


@takes_old_names(OLD_NAMES, OLD_VALUES)
@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """One pipeline: its model, its ranks, and what to do when it hangs.

    Raises ValueError on values of another type or out of range.
    """

    model: str = "smollm2"
    """smollm2 (pretrained, from a Python package), a folder with a Hugging Face Llama checkpoint, a .gguf file, a
    repository in Hugging Face's cache, such as llama-3.1-8b; with --load random also the name of a shape."""
    load: Literal["checkpoint", "random"] = "checkpoint"
    """Weights from the checkpoint, or random numbers in its shape."""
    seed: int = 0
    """Of random weights, and of sampling where a request brings none of its own."""
    pp: int = 1
    """P, the number of pipeline stages; one process each."""
    tp: int = 1
    """Ranks that share each stage (tensor parallelism): pp times tp processes in all."""
    depth: int = 0
    """d, the async depth: how many microbatches more than stages are in flight."""
    ordering: str = "auto"
    """Order of the output phase: auto, an ordering of `python -m model names`, a vector such as SRS, or batched (both
    halves as one group). auto is the first of send-first, parity and batched that the model finds free of deadlock,
    and of any need of buffering."""
    semantics: str = "auto"
    """What is declared of the library that carries tensors: a name of `python -m model names`, or bounded(k).
    auto is what is known of the backend, or rendezvous with blocking_isend."""
    backend: str = "auto"
    """Library that carries tensors: one of torch.distributed's by name; auto is the usual one of the device."""
    transport: Literal["auto", "device", "host", "shared"] = "auto"
    """device: tensors go to the library where they are. host: through the host's memory, so that ranks can share an
    accelerator. shared: so too, and from process to process through memory that they share, on one host. auto is
    device where each rank has an accelerator of its own or computes on a CPU, else shared where that can be, else
    host."""
    control: Literal["auto", "group", "shared"] = "auto"
    """How requests go from stage to stage: group is the hosts' library, shared is memory that ranks of one host share
    (x86-64, no launcher, no blocking_isend). auto is shared with transport shared, and wherever it can be where each
    rank has an accelerator of its own."""
    blocking_isend: bool = False
    """Let no isend of a tensor return before its receive is posted, polling meanwhile, as reported for XCCL."""
    preflight: bool = True
    """Ask the model first, and do not start where it sees a deadlock."""
    watchdog: float = 30.0
    """Seconds without progress of some rank after which all are ended, with a report."""
    start_timeout: float = 600.0
    """The same while ranks start and load their weights."""
    device: str = "auto"
    """Where the stages compute: an accelerator by the name that torch has for it, or cpu; auto takes an accelerator
    where there is one."""
    ipex: Literal["auto", "on", "off"] = "auto"
    """Whether stages on a CPU or an xpu go through intel-extension-for-pytorch; auto: where it is installed and made
    for this torch."""
    dtype: str = "auto"
    """Of weights, hidden states and cache: float32, bfloat16 or float16; auto takes the device's."""
    decode: Literal["auto", "captured", "plain"] = "auto"
    """How decode steps run: captured once and replayed, by kernels of their own, or as any other forward; auto
    captures where the device can and the kernels take the model's shape."""
    overlap: Literal["auto", "on", "off"] = "auto"
    """Whether decode steps are launched before the tokens of the step before have come to the host, which a rank can
    that is alone and has depth 0; auto: there, on an accelerator."""
    threads: int | None = None
    """Threads of each rank on a CPU; by default the cores divided by the ranks."""
    context_length: int = 1024
    """Tokens that a request may have, its prompt and its new ones together."""
    max_batch: int = 8
    """Requests in one microbatch."""
    max_running_requests: int | None = None
    """Requests in the cache at once; by default enough for every microbatch."""
    chunked_prefill_size: int = 2048
    """Prompt tokens that a microbatch takes at once, padding included; longer prompts come in several chunks."""
    batch_fill: Literal["spread", "pack"] = "spread"
    """How waiting requests go to microbatches: spread evenly over all, or as many into each as it holds."""
    max_queued_requests: int = 4096
    """Requests that may wait; more are refused."""
    record_logits: Path | None = None
    """For debugging: the last rank writes the logits of every batch to this file (see `reference.ranks.worker`)."""

    trace: Path | None = None
    """Record what every rank does, and write it to this folder as one trace (see `python -m model conform` and
    `python -m model timeline`); an older one there is replaced."""

    def __post_init__(self) -> None:
        check_types(self)
        least = {
            "pp": 1,
            "tp": 1,
            "depth": 0,
            "context_length": 2,
            "max_batch": 1,
            "max_running_requests": 1,
            "threads": 1,
            "chunked_prefill_size": 1,
            "max_queued_requests": 1,
        }
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise ValueError(f"{name} is {value}; give {bound} or more")
        if self.depth > MAX_DEPTH:
            raise ValueError(f"depth is {self.depth}; give {MAX_DEPTH} or less")
        if self.overlap == "on" and self.slots * self.tp > 1:
            raise ValueError(
                f"overlap is on, but pp is {self.pp}, tp {self.tp} and depth {self.depth}: it is for one rank and "
                "depth 0; choose auto or off"
            )
        if self.threads is not None and self.threads > MAX_THREADS:
            raise ValueError(f"threads is {self.threads}; give {MAX_THREADS} or less")
        self._check_names()
        for name in ("watchdog", "start_timeout"):
            if not 4 * HEARTBEAT <= getattr(self, name) <= DAY:
                raise ValueError(f"{name} is {getattr(self, name)}; give {4 * HEARTBEAT:g} to {DAY:.0f} seconds")

    def _check_names(self) -> None:
        """Raises ValueError on names that are known to be wrong before torch is asked for devices and backends."""
        if self.ordering != "auto":
            output_policy(self.ordering, self.pp)
        if self.semantics != "auto":
            semantics(self.semantics)
        if self.dtype not in ("auto", *DTYPE_NAMES):
            raise ValueError(f"unknown dtype {self.dtype!r}; choose one of auto, {', '.join(DTYPE_NAMES)}")

    @property
    def ranks(self) -> int:
        """Processes in all; rank = stage * tp + its number in the stage."""
        return self.pp * self.tp

    @property
    def slots(self) -> int:
        """L = P + d, the microbatch slots."""
        return self.pp + self.depth

    @property
    def cache_rows(self) -> int:
        """Rows of the KV cache."""
        return self.max_running_requests if self.max_running_requests is not None else self.slots * self.max_batch

    def overlaps(self, *, on_host: bool) -> bool:
        """Whether decode steps are launched ahead, where stages compute on the host or not."""
        return self.overlap == "on" or (self.overlap == "auto" and not on_host and self.slots * self.tp == 1)

    def threads_per_rank(self, local_ranks: int) -> int:
        """Threads of one rank on a CPU, where so many ranks share the host."""
        if self.threads is not None:
            return self.threads
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, cores // local_ranks)
