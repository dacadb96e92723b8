"""How far each rank of a process group is, for whoever watches it from outside."""

from __future__ import annotations

import mmap
from pathlib import Path

SETTING_UP = -1


class ProgressCounters:
    """Progress of the ranks, in a small file that they and the watcher map; each step is one store.

    A rank's counter is (probe, operations done of that probe); a fresh file says (0, SETTING_UP) and no pid.
    """

    def __init__(self, path: Path, ranks: int) -> None:
        self.ranks = ranks
        if not path.exists():
            path.write_bytes(bytes(16 * ranks))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 16 * ranks)
        self._cells = memoryview(self._map).cast("q")

    def set(self, rank: int, probe: int, done: int) -> None:
        self._cells[rank] = probe << 32 | (done - SETTING_UP)

    def get(self, rank: int) -> tuple[int, int]:
        probe, done = divmod(self._cells[rank], 1 << 32)
        return probe, done + SETTING_UP

    def set_pid(self, rank: int, pid: int) -> None:
        self._cells[self.ranks + rank] = pid

    def pids(self) -> list[int]:
        """The process of each rank; 0 where it has not started yet."""
        return list(self._cells[self.ranks :])

    def close(self) -> None:
        self._cells.release()
        self._map.close()
