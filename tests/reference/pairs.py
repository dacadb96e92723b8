"""Two ranks in processes of their own, each with a transport."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from typing import Any

from model.pipelines.serving import CONTROL, DATA
from reference.device import HOST, HOST_BACKEND, Device
from reference.ranks import processes
from reference.transport.base import Transport
from reference.transport.host_staged import HostStagedTransport
from reference.transport.rendezvous import connect_locally, join, listen_locally
from reference.transport.torch_distributed import TorchTransport
from tests.patience import stretch

PATIENCE = 60.0

Part = Callable[[Any, Event], Any]
"""What a rank does with its transport and an event that both have."""


def _rank(rank: int, part: Part, port: int, way: str, blocking: bool, event: Event, pipe: Connection) -> None:
    processes.end_with_parent()
    timeout = timedelta(seconds=stretch(PATIENCE))
    groups = join(
        store=connect_locally(port, timeout),
        rank=rank,
        ranks=2,
        backends={CONTROL: HOST_BACKEND, DATA: HOST_BACKEND},
        timeout=timeout,
    )
    blocks = frozenset({DATA}) if blocking else frozenset()
    transport: Transport = TorchTransport(groups, blocking=blocks)
    if way == "host":
        transport = HostStagedTransport(groups, Device(kind=HOST), staged={DATA}, blocking=blocks)
    pipe.send("joined")
    pipe.recv()  # one that left already would break the other's joining
    pipe.send(part(transport, event))
    transport.close()


@contextmanager
def pair_of_ranks() -> Iterator[Callable[..., list[Any]]]:
    """`run(part of rank 0, part of rank 1)`: what they returned. No process is left at the end."""
    started = []

    def run(*parts: Part, way: str = "device", blocking: bool = False) -> list[Any]:
        context = processes.context()
        _store, port = listen_locally()
        event, pipes = context.Event(), []
        for rank, part in enumerate(parts):
            ours, theirs = context.Pipe()
            process = context.Process(target=_rank, args=(rank, part, port, way, blocking, event, theirs))
            process.start()
            theirs.close()
            started.append(process)
            pipes.append(ours)

        def heard(rank: int) -> Any:
            assert pipes[rank].poll(stretch(PATIENCE)), f"rank {rank} gave no answer"
            return pipes[rank].recv()

        assert [heard(rank) for rank in range(len(parts))] == ["joined"] * len(parts)
        for pipe in pipes:
            pipe.send("go")
        answers = [heard(rank) for rank in range(len(parts))]
        for pipe in pipes:
            pipe.close()
        return answers

    try:
        yield run
    finally:
        processes.end(started)
