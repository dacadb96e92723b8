"""The named libraries: what each promises, how that is known, and the families with a parameter."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from model.semantics.parameters import UNLIMITED, Semantics

KIB, MIB = 2**10, 2**20

LARGE = 64 * MIB
"""Bytes beyond every finite limit of the named libraries."""

_TORCH_XCCL = "sgl-project/sglang#23472"
_TORCHCOMMS = "meta-pytorch/torchcomms#2885"
_NCCL = "PyTorch's ProcessGroupNCCL and NCCL's transport sources"

NAMED: Mapping[str, Semantics] = {
    semantics.name: semantics
    for semantics in (
        Semantics(
            name="rendezvous",
            isend_returns="match",
            source="definition: send and isend return when the matching receive is posted",
        ),
        Semantics(
            name="eager",
            isend_returns="post",
            eager_limit=UNLIMITED,
            source="definition: every message is stored at once",
        ),
        Semantics(
            name="deferred",
            isend_returns="deferred",
            source="definition: an isend returns at once and its transfer starts at its wait (PaddleFleet#2080)",
        ),
        Semantics(
            name="gloo",
            isend_returns="post",
            evidence="measured",
            source="measured with torch 2.13 on CPU: rendezvous at every size, isend returns at once",
        ),
        Semantics(
            name="ssend",
            isend_returns="post",
            evidence="measured",
            source="MPI standard, synchronous mode; measured with MPICH, Open MPI and Intel MPI: no size returns early",
        ),
        Semantics(
            name="bsend",
            isend_returns="post",
            eager_limit=UNLIMITED,
            evidence="read",
            source="read in the MPI standard: a buffered send is local; not measured here",
        ),
        Semantics(
            name="mpich",
            isend_returns="post",
            eager_limit=8112,
            evidence="measured",
            source="measured with MPICH 5.0 in shared memory: MPI_Send of 8112 bytes returns, of 8113 waits",
        ),
        Semantics(
            name="openmpi",
            isend_returns="post",
            eager_limit=4016,
            progress="inside",
            evidence="measured",
            source="measured with Open MPI 5.0 in shared memory: 4016 bytes return once the receiver is in any call "
            "(256 at once), 4017 wait",
        ),
        Semantics(
            name="intelmpi",
            isend_returns="post",
            eager_limit=UNLIMITED,
            progress="inside",
            evidence="measured",
            source="measured with Intel MPI 2021.18 in shared memory: no limit up to 256 MiB; 1 MiB returns at once, "
            "16 MiB once the receiver is in any call",
        ),
        Semantics(
            name="smpi",
            isend_returns="post",
            eager_limit=64 * KIB - 1,
            evidence="measured",
            source="measured with SMPI of SimGrid 3.32: MPI_Send of 65535 bytes returns, of 65536 (64 KiB) waits",
        ),
        Semantics(
            name="nccl",
            isend_returns="post",
            fifo=MIB,
            order="pair",
            batch="per-peer",
            evidence="read",
            source=f"read from {_NCCL}: one stream a pair, 8 steps of 128 KiB ahead on one channel (512 KiB each over "
            "NVLink); communicators and connections made before; not measured here",
        ),
        Semantics(
            name="nccl-cold",
            isend_returns="post",
            fifo=MIB,
            order="pair",
            connection="direction",
            batch="per-peer",
            evidence="read",
            source=f"read from {_NCCL}: as nccl, with lazy initialisation, where the hosts meet at the first use of "
            "each direction (nccl#2407); not measured here",
        ),
        Semantics(
            name="nccl-eager-init",
            isend_returns="post",
            fifo=MIB,
            order="communicator",
            batch="per-peer",
            evidence="read",
            source=f"read from {_NCCL}: with device_id given everything goes through one stream; connections made "
            "before; not measured here",
        ),
        Semantics(
            name="nccl-batched",
            isend_returns="post",
            fifo=MIB,
            order="communicator",
            connection="pair",
            batch="per-peer",
            evidence="read",
            source=f"read from {_NCCL}: batches on the parent communicator, one stream, hosts meet at the first batch "
            "of each pair; not measured here",
        ),
        Semantics(
            name="xccl",
            isend_returns="match",
            polling=True,
            evidence="read",
            source=f"read from {_TORCH_XCCL}: isend polls until the receive is posted; not measured here",
        ),
        Semantics(
            name="xccl-group",
            isend_returns="match",
            polling=True,
            batch="replayed",
            evidence="read",
            source=f"read from {_TORCHCOMMS}: as xccl, and a group replays its operations in list order; not measured "
            "here",
        ),
        Semantics(
            name="oneccl",
            isend_returns="completion",
            polling=True,
            eager_limit=UNLIMITED,
            progress="inside",
            evidence="measured",
            source="measured with oneCCL 2022.1 on host buffers over Intel MPI and OFI/tcp: send-first completes up to "
            "16 MiB, there once the receiver is in any call",
        ),
        Semantics(
            name="oneccl-mpich",
            isend_returns="completion",
            polling=True,
            eager_limit=8112,
            evidence="measured",
            source="measured with oneCCL 2022.1 on host buffers over MPICH: send-first spins above 8112 bytes",
        ),
        Semantics(
            name="oneccl-group",
            isend_returns="completion",
            polling=True,
            batch="replayed",
            evidence="read",
            source=f"read from oneCCL's group_impl::end and {_TORCHCOMMS}: a group replays its operations in list "
            "order; not measured here",
        ),
        Semantics(
            name="hccl",
            isend_returns="post",
            order="communicator",
            evidence="read",
            source="read in the documentation of HcclSend and HcclRecv: both ends synchronise before the transfer; one "
            "stream (sglang#38249); not measured here",
        ),
    )
}


def bounded(capacity: int) -> Semantics:
    """A channel stores `capacity` messages; send and isend return once theirs is stored or received."""
    if capacity < 0:
        raise ValueError(f"bounded({capacity}): the capacity is negative; give 0 (rendezvous) or more")
    return Semantics(
        name=f"bounded({capacity})",
        isend_returns="match",
        capacity=capacity,
        source="definition: a channel stores a fixed number of messages",
    )


def eager(limit: int) -> Semantics:
    """MPI's standard mode with an eager limit: a message of at most `limit` bytes is stored at once."""
    if limit < 0:
        raise ValueError(f"eager({limit}): the limit is negative; give 0 (rendezvous) or more bytes")
    return Semantics(
        name=f"eager({limit})",
        isend_returns="post",
        eager_limit=limit,
        source="definition: MPI's standard mode with an eager limit in bytes",
    )


def fifo(size: int) -> Semantics:
    """A channel stores `size` bytes; isend returns at once."""
    if size < 0:
        raise ValueError(f"fifo({size}): the size is negative; give 0 (rendezvous) or more bytes")
    return Semantics(
        name=f"fifo({size})",
        isend_returns="post",
        fifo=size,
        source="definition: a channel stores a fixed number of bytes",
    )


FAMILIES: Mapping[str, Callable[[int], Semantics]] = {"bounded": bounded, "eager": eager, "fifo": fifo}
"""Semantics with a number, written `bounded(2)` or `bounded:2`."""

CHOICES = (*NAMED, "bounded(k)", "eager(bytes)", "fifo(bytes)")


def semantics(name: str) -> Semantics:
    """The semantics of a name of `NAMED` or of a family; ValueError on any other."""
    if name in NAMED:
        return NAMED[name]
    if match := re.fullmatch(rf"({'|'.join(FAMILIES)})(?:\((-?[0-9]{{1,9}})\)|:(-?[0-9]{{1,9}}))", name):
        return FAMILIES[match[1]](int(match[2] or match[3]))
    raise ValueError(f"unknown semantics {name!r}; choose one of {', '.join(CHOICES)}")
