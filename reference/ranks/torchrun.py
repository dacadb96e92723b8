"""A job that torchrun started: which rank this process is, and where the ranks meet. Imports torch only to meet.

torchrun tells each process through its environment; any launcher that sets the same variables will do.

On each of two nodes, `N` being 0 on the first, whose address is 10.0.0.1:

torchrun --nnodes 2 --node-rank N --nproc-per-node 2 --master-addr 10.0.0.1 --master-port 29500 \\
    -m reference generate --pp 2 --tp 2 --model /models/Llama-3.1-8B --prompt "The capital of France is"

Standard output and standard input are those of rank 0, which also serves clients.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch.distributed as dist

NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT")
AGENT_STORE = "TORCHELASTIC_USE_AGENT_STORE"
RESTARTS = "TORCHELASTIC_RESTART_COUNT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Of one process in the job. `local_rank` counts the `local_ranks` processes of its node."""

    rank: int
    ranks: int
    local_rank: int
    local_ranks: int
    address: str
    port: int
    prefix: str
    agent_has_store: bool

    def check(self, pp: int, tp: int) -> None:
        """Raises ValueError unless the pipeline has as many ranks as the job."""
        if pp * tp != self.ranks:
            raise ValueError(
                f"pp {pp} times tp {tp} are {pp * tp} ranks, but torchrun started {self.ranks} processes; "
                "give --nnodes and --nproc-per-node that multiply to the ranks"
            )

    def meet(self, timeout: timedelta, *, host: bool = False) -> dist.Store:
        """A connection of its own to the job's store, for one thread. `host`: where no agent has the store, this
        process does if it is rank 0. Raises RuntimeError when nobody answers."""
        import torch.distributed as dist

        store = dist.TCPStore(
            self.address,
            self.port,
            is_master=host and self.rank == 0 and not self.agent_has_store,
            wait_for_workers=False,
            timeout=timeout,
        )
        return dist.PrefixStore(self.prefix, store)

    def interface(self) -> str | None:
        """The network interface through which this node reaches the meeting point, None where that is unclear."""
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect((self.address, self.port))  # sends nothing
                own = probe.getsockname()[0]
        except OSError:
            return None
        found = psutil.net_if_addrs().items()
        return next((name for name, addresses in found if any(own == item.address for item in addresses)), None)


def follows() -> bool:
    """Whether this process is of a job and has not its engine."""
    job = place()
    return job is not None and job.rank > 0


def alone(rank: int, ranks: int) -> Place:
    """The place of a rank whose engine started all ranks, on this host."""
    return Place(
        rank=rank,
        ranks=ranks,
        local_rank=rank,
        local_ranks=ranks,
        address="",
        port=0,
        prefix="",
        agent_has_store=False,
    )


def place(environment: Mapping[str, str] = os.environ) -> Place | None:
    """This process's place, None where no launcher started it. Raises ValueError on variables that are no numbers."""
    if "MASTER_ADDR" not in environment or not all(name in environment for name in NUMBERS):
        return None
    wrong = [name for name in NUMBERS if not environment[name].isdecimal()]
    if wrong:
        raise ValueError(f"{wrong[0]} is {environment[wrong[0]]!r}; start the ranks with torchrun, or unset it")
    rank, ranks, local_rank, local_ranks, port = (int(environment[name]) for name in NUMBERS)
    return Place(
        rank=rank,
        ranks=ranks,
        local_rank=local_rank,
        local_ranks=local_ranks,
        address=environment["MASTER_ADDR"],
        port=port,
        prefix=f"ringproof/{environment.get(RESTARTS, '0')}",
        agent_has_store=environment.get(AGENT_STORE) == "True",
    )
