"""A job that torchrun started: which rank this process is, and where the ranks meet.

torchrun tells each process through its environment; any launcher that sets the same variables will do.

On each of two nodes, `N` being 0 on the first, whose address is 10.0.0.1:

torchrun --nnodes 2 --node-rank N --nproc-per-node 2 --master-addr 10.0.0.1 --master-port 29500 \\
    -m reference generate --pp 2 --tp 2 --model /models/Llama-3.1-8B --prompt "The capital of France is"

Standard output and standard input are those of rank 0, which also serves clients.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT")
AGENT_STORE = "TORCHELASTIC_USE_AGENT_STORE"
RESTARTS = "TORCHELASTIC_RESTART_COUNT"


@dataclass(frozen=True, slots=True, kw_only=True)
class RankInfo:
    """One process of a job. `local_rank` counts the `local_ranks` processes of its node."""

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


def is_follower() -> bool:
    """Whether this process is of a job and has not its engine."""
    job = rank_info()
    return job is not None and job.rank > 0


def single_host(rank: int, ranks: int) -> RankInfo:
    """What a rank is told of itself whose engine started all ranks, on this host."""
    return RankInfo(
        rank=rank,
        ranks=ranks,
        local_rank=rank,
        local_ranks=ranks,
        address="",
        port=0,
        prefix="",
        agent_has_store=False,
    )


def rank_info(environment: Mapping[str, str] = os.environ) -> RankInfo | None:
    """Which rank this process is; None without a launcher. Raises ValueError on variables that are no numbers."""
    if "MASTER_ADDR" not in environment or not all(name in environment for name in NUMBERS):
        return None
    wrong = [name for name in NUMBERS if not environment[name].isdecimal()]
    if wrong:
        raise ValueError(f"{wrong[0]} is {environment[wrong[0]]!r}; start the ranks with torchrun, or unset it")
    rank, ranks, local_rank, local_ranks, port = (int(environment[name]) for name in NUMBERS)
    return RankInfo(
        rank=rank,
        ranks=ranks,
        local_rank=local_rank,
        local_ranks=local_ranks,
        address=environment["MASTER_ADDR"],
        port=port,
        prefix=f"ringproof/{environment.get(RESTARTS, '0')}",
        agent_has_store=environment.get(AGENT_STORE) == "True",
    )
