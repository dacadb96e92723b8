"""The ranks that share a stage: their collectives, and the row of the status board on which each of them waits.

A collective's library (a device's, or the host's for arrivals) is the one of the pipeline's messages of the same kind,
or the host's where those go through shared memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

from model.pipelines.tensor_parallel import STAGE_CONTROL, STAGE_DATA
from reference.transport.base import CollectiveFailed
from reference.verification.status_board import StatusBoard


class StageGroup:
    """One rank's end of its stage's group (see `llama`'s `Communicator`).

    rank: of all. ranks: those of the stage. groups: the process groups of the stage, by communicator. via_host: the
    data group carries only host memory, so tensors go there and back. capturable: as in `llama`'s `Communicator`.
    Raises CollectiveFailed where a connection breaks.
    """

    def __init__(
        self,
        *,
        rank: int,
        ranks: range,
        groups: Mapping[str, dist.ProcessGroup],
        board: StatusBoard,
        via_host: bool,
        capturable: bool,
    ) -> None:
        self.capturable = capturable
        self._rank, self._ranks, self._board, self._via_host = rank, ranks, board, via_host
        self._control, self._data = groups[STAGE_CONTROL], groups[STAGE_DATA]

    def all_reduce(self, x: Tensor) -> Tensor:
        """The sum of every rank's `x`, to the same bits on all, in `x` itself."""
        with self._collective("all-reduce"):
            return self._staged(x, lambda there: dist.all_reduce(there, group=self._data))

    def all_gather(self, x: Tensor) -> Tensor:
        """Every rank's `x` [..., N], one after another, [..., size * N]."""
        with self._collective("all-gather"):
            mine = (x.cpu() if self._via_host else x).contiguous()
            parts = [torch.empty_like(mine) for _ in self._ranks]
            dist.all_gather(parts, mine, group=self._data)
            return torch.cat(parts, dim=-1).to(x.device)

    def broadcast(self, x: Tensor) -> Tensor:
        """The first rank's `x`, in `x` itself: what is computed alike may still differ, where a kernel's order of
        summation is left to chance, and ranks that disagree on a token would hang."""
        with self._collective("broadcast"):
            return self._staged(x, lambda there: dist.broadcast(there, self._ranks[0], group=self._data))

    def broadcast_bytes(self, data: bytes | None) -> bytes:
        """The bytes of the first rank, which alone gives some."""
        with self._collective("broadcast"):
            size = torch.tensor([0 if data is None else len(data)])
            dist.broadcast(size, self._ranks[0], group=self._control)
            if not int(size):
                return b""
            content = torch.empty(int(size), dtype=torch.uint8)
            if data is not None:
                content = torch.frombuffer(bytearray(data), dtype=torch.uint8)
            dist.broadcast(content, self._ranks[0], group=self._control)
            return content.numpy().tobytes()

    def local_slice(self, x: Tensor) -> Tensor:
        """This rank's slice of the last dimension, which the group's size divides."""
        return x.chunk(len(self._ranks), dim=-1)[self._rank - self._ranks[0]].contiguous()

    def _staged(self, x: Tensor, collective: Callable[[Tensor], object]) -> Tensor:
        if not self._via_host:
            collective(x)
            return x
        on_host = x.cpu()
        collective(on_host)
        return x.copy_(on_host)

    @contextmanager
    def _collective(self, kind: str) -> Iterator[None]:
        self._board.begin_collective(self._rank, kind, self._ranks)
        try:
            yield
        except RuntimeError as error:
            raise CollectiveFailed(
                f"the {kind} of ranks {self._ranks[0]} to {self._ranks[-1]} broke: {error}"
            ) from None
        self._board.end_collective(self._rank)
