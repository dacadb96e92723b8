"""Probes perform exactly the operations of the program, and notice a wrong message."""

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.hang_matrix.matrix import Cell
from experiments.lab.progress import ProgressCounters
from experiments.lab.rank_driver import run_operations, run_rank, write_job
from model.program.ops import Batch, Irecv, Isend, Operation, Recv, Send, Wait
from model.rings.ring_program import STYLES


class Loopback:
    """A transport that notes what it is told, and delivers the byte of the sender, or `wrong`."""

    def __init__(self, wrong: int | None = None) -> None:
        self.performed: list[Operation] = []
        self._wrong = wrong

    def perform(self, op: Operation, /, *payloads: bytearray) -> None:
        self.performed.append(op)
        parts = op.ops if isinstance(op, Batch) else (op,)
        for part, payload in zip(parts, payloads, strict=False):
            if isinstance(part, Recv | Irecv):
                payload[:] = bytes([part.peer + 1 if self._wrong is None else self._wrong]) * len(payload)


def run(operations: list[Operation], transport: Loopback, *, nbytes: int = 3) -> list[int]:
    counters: list[int] = []
    run_operations(
        operations,
        transport,
        rank=0,
        buffer=lambda byte: bytearray([byte]) * nbytes,
        equal=lambda a, b: a == b,
        count=counters.append,
    )
    return counters


@pytest.mark.parametrize("style", STYLES)
def test_the_program_itself_is_performed(style: Any) -> None:
    operations = list(Cell(ordering="parity", ranks=3, nbytes=3, style=style, rounds=2).program()[0])
    transport = Loopback()
    assert run(operations, transport) == list(range(len(operations) + 1))
    assert transport.performed == operations


@pytest.mark.parametrize(
    "operations",
    [
        [Recv(peer=1)],
        [Irecv(peer=1, request="r"), Wait(requests=("r",))],
        [Batch(ops=(Isend(peer=1, request="s"), Irecv(peer=1, request="r")))],
    ],
)
@pytest.mark.parametrize("wrong", [0, 1, 7])
def test_a_wrong_message_is_noticed(operations: list[Operation], wrong: int) -> None:
    with pytest.raises(RuntimeError, match="received from rank 1 is not"):
        run(operations, Loopback(wrong=wrong))


def test_an_irecv_is_not_looked_at_before_its_wait() -> None:
    assert run([Irecv(peer=1, request="r")], Loopback(wrong=9)) == [0, 1]


def test_a_rank_runs_every_probe_of_its_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alarms: list[float] = []
    monkeypatch.setattr("signal.setitimer", lambda which, seconds: alarms.append(seconds))  # it would end the tests
    cells = [Cell(ordering="parity", ranks=2, nbytes=nbytes, style="send", rounds=1) for nbytes in (1, 5)]
    write_job(tmp_path / "job.json", cells, limit_s=60)
    assert len(json.loads((tmp_path / "job.json").read_text())["probes"]) == 2
    counters = ProgressCounters(tmp_path / "counters", 2)
    transports: list[Loopback] = []
    sizes: list[int] = []

    def fresh() -> Loopback:
        transports.append(Loopback())
        return transports[-1]

    def buffer(nbytes: int, byte: int) -> bytearray:
        sizes.append(nbytes)
        return bytearray([byte]) * nbytes

    run_rank(tmp_path / "job.json", counters, 1, fresh=fresh, buffer=buffer, equal=lambda a, b: a == b)
    assert [transport.performed for transport in transports] == [[Recv(peer=0), Send(peer=0, nbytes=n)] for n in (1, 5)]
    assert counters.get(1) == (1, 2)
    assert alarms == [120, 120]
    assert set(sizes) == {1, 5}
    counters.close()
