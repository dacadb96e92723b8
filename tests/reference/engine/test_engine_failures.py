"""Engines that hang, die or cannot be: who is named, and that nothing is left."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file, save_file

from model.pipelines.serving import Phase
from reference.device import HOST, HOST_BACKEND, Device
from reference.engine.engine import Engine, SamplingParams
from reference.transport import shared_memory
from reference.verification.preflight import DeadlockPredicted
from reference.verification.watchdog import PipelineStalled, RankDied
from tests.patience import stretch, wait_until
from tests.reference.checkpoints import save_llama
from tests.reference.engines import LONG, PROMPTS, Heard, config, gone, tokens

pytestmark = pytest.mark.xdist_group("engine")


ROOT = Path(__file__).parents[3]
SHARED = pytest.param(
    "shared",
    marks=pytest.mark.skipif(not shared_memory.supported(), reason="rings are for x86-64; nothing to install"),
)
WAYS = pytest.mark.parametrize("transport", ["device", SHARED])
SHARED_CONTROL = pytest.param({"control": "shared"}, marks=SHARED.marks)
SHARED_ALL = pytest.param({"transport": "shared"}, marks=SHARED.marks)


# Hangs


def test_send_first_under_a_blocking_isend_hangs_and_is_reported(checkpoint: Path) -> None:
    options = {"blocking_isend": True, "ordering": "send-first"}
    with pytest.raises(DeadlockPredicted, match="use --ordering parity") as refused:
        Engine(config(checkpoint, **options))
    with (
        pytest.raises(PipelineStalled) as caught,
        Engine(config(checkpoint, **options, preflight=False, watchdog=stretch(4))) as engine,
    ):
        tokens(engine, PROMPTS, LONG)
    stuck = caught.value
    assert stuck.circuit == (0, 1, 2)
    assert stuck.circuit == tuple(item.rank for item in refused.value.result.circuit)
    assert [(item.phase, item.kind, item.peer) for item in stuck.statuses] == [
        (Phase.SEND_OUTPUT, "isend", 1),
        (Phase.SEND_OUTPUT, "isend", 2),
        (Phase.SEND_OUTPUT, "isend", 0),
    ]
    assert "rank 0 -> rank 1 -> rank 2 -> rank 0" in str(stuck)
    assert gone(engine.pids)


@WAYS
def test_receive_first_hangs_without_any_blocking_isend(checkpoint: Path, transport: str) -> None:
    options = {"ordering": "receive-first", "preflight": False, "watchdog": stretch(4)}
    with (
        pytest.raises(PipelineStalled) as caught,
        Engine(config(checkpoint, pp=2, transport=transport, **options)) as engine,
    ):
        tokens(engine, PROMPTS, LONG)
    assert caught.value.circuit == (0, 1)
    assert {item.phase for item in caught.value.statuses} == {Phase.RECV_OUTPUT}
    assert gone(engine.pids)


def test_fewer_batches_than_ranks_do_not_hang(checkpoint: Path) -> None:
    """Send-first under a blocking isend needs P consecutive iterations with a batch (statement 8)."""
    with Engine(config(checkpoint, blocking_isend=True, ordering="send-first", preflight=False)) as engine:
        assert [len(out) for out in tokens(engine, PROMPTS[:2], 5)] == [5, 5]


@WAYS
def test_a_suspended_rank_is_named(checkpoint: Path, transport: str) -> None:
    with (
        pytest.raises(PipelineStalled) as caught,
        Engine(config(checkpoint, transport=transport, watchdog=stretch(4))) as engine,
    ):
        stream = engine.generate(PROMPTS, LONG, ignore_eos=True)
        next(stream)
        os.kill(engine.pids[1], signal.SIGSTOP)
        list(stream)
    assert caught.value.stopped == {1}
    assert caught.value.circuit == ()
    assert "the process of rank 1 is suspended" in str(caught.value)
    assert gone(engine.pids)


@pytest.mark.parametrize("options", [{}, SHARED_CONTROL, SHARED_ALL], ids=str)
def test_a_suspended_rank_is_noticed_while_nobody_asks_for_anything(checkpoint: Path, options: dict[str, Any]) -> None:
    """Requests that say that there are none go into a ring without anybody there to take them out."""
    with pytest.raises(PipelineStalled) as caught, Engine(config(checkpoint, watchdog=stretch(4), **options)) as engine:
        os.kill(engine.pids[2], signal.SIGSTOP)
        wait_until(lambda: engine.failure is not None, 60, what="nobody notices")
        tokens(engine, PROMPTS[:1], 1)
    assert caught.value.stopped == {2} <= caught.value.stalled
    assert "the process of rank 2 is suspended" in str(caught.value)
    assert gone(engine.pids)


# Deaths


@pytest.mark.parametrize("rank", [0, 1, 2])
@WAYS
def test_a_killed_rank_is_named_and_the_others_end(checkpoint: Path, transport: str, rank: int) -> None:
    with pytest.raises(RankDied) as caught, Engine(config(checkpoint, transport=transport)) as engine:
        stream = engine.generate(PROMPTS, LONG, ignore_eos=True)
        next(stream)
        os.kill(engine.pids[rank], signal.SIGKILL)
        list(stream)
    assert (caught.value.rank, caught.value.exitcode) == (rank, -signal.SIGKILL)
    assert f"rank {rank} was ended by signal 9 in iteration" in str(caught.value)
    assert gone(engine.pids)


def test_a_death_is_told_once_to_each_caller_and_seen_in_the_state(checkpoint: Path) -> None:
    callers = [Heard(3), Heard(1)]
    with Engine(config(checkpoint)) as engine:
        for heard in callers:
            engine.submit(PROMPTS[: len(heard.outputs)], SamplingParams(max_new_tokens=LONG, ignore_eos=True), heard)
        os.kill(engine.pids[1], signal.SIGKILL)
        for heard in callers:
            heard.wait()
        assert not engine.stats().alive and "rank 1" in engine.stats().failure
        with pytest.raises(RankDied, match="rank 1 was ended by signal 9"):
            engine.submit(PROMPTS, SamplingParams(), lambda _: None)
    assert [[type(error) for error in heard.errors] for heard in callers] == [[RankDied]] * 2
    assert gone(engine.pids)


def test_a_rank_killed_while_idle_is_noticed_at_the_next_request(checkpoint: Path) -> None:
    with pytest.raises(RankDied, match="rank 1 was ended by signal 9"), Engine(config(checkpoint)) as engine:
        os.kill(engine.pids[1], signal.SIGKILL)
        assert gone(engine.pids)
        tokens(engine, PROMPTS, 1)


@WAYS
def test_leaving_the_block_in_the_middle_ends_every_process(checkpoint: Path, transport: str) -> None:
    with pytest.raises(KeyboardInterrupt), Engine(config(checkpoint, transport=transport)) as engine:
        next(engine.generate(PROMPTS, LONG, ignore_eos=True))
        raise KeyboardInterrupt
    assert gone(engine.pids)


KILLED = """
import os, signal, sys
from tests.reference.engines import LONG, PROMPTS, config
from reference.engine.engine import Engine
if __name__ == "__main__":
    with Engine(config(sys.argv[1])) as engine:
        next(engine.generate(PROMPTS, LONG, ignore_eos=True))
        os.kill(engine.pids[1], signal.SIGSTOP)
        print(*engine.pids, flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl, which only Linux has; nothing to install")
def test_an_engine_that_is_killed_takes_a_suspended_rank_with_it(checkpoint: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(checkpoint)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    family: tuple[int, ...] = ()
    try:
        assert process.stdout is not None
        pids = tuple(map(int, process.stdout.readline().split()))
        family = tuple(child.pid for child in psutil.Process(process.pid).children(recursive=True))
        assert len(pids) == 3 and set(pids) < set(family)
        process.kill()
        process.communicate(timeout=stretch(60))
        assert gone(family)
    finally:
        process.kill()
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


# Bad input


def test_a_checkpoint_cut_short_is_a_value_error(tmp_path: Path) -> None:
    save_llama(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    refused = Engine(config(tmp_path))
    with pytest.raises(ValueError, match=r"model\.safetensors"), refused:
        pass
    assert gone(refused.pids)


def test_a_missing_layer_is_named(tmp_path: Path) -> None:
    save_llama(tmp_path)
    file = tmp_path / "model.safetensors"
    kept = {name: tensor for name, tensor in load_file(file).items() if ".layers.3." not in name}
    save_file(kept, file, metadata={"format": "pt"})
    refused = Engine(config(tmp_path))
    with pytest.raises(ValueError, match=r"model\.layers\.3\."), refused:
        pass
    assert gone(refused.pids)


def test_a_config_that_is_no_llama_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(ValueError, match=r"config\.json"):
        Engine(config(tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pp": 6}, "6 pipeline stages for 5 layers"),
        ({"pp": 0}, "pp is 0; give 1 or more"),
        ({"depth": -1}, "depth is -1; give 0 or more"),
        ({"depth": 100_000}, "depth is 100000; give 1000 or less"),
        ({"watchdog": 0}, "watchdog is 0; give 1 to 86400 seconds"),
        ({"watchdog": float("inf")}, "watchdog is inf; give 1 to 86400 seconds"),
        ({"start_timeout": 1e300}, "start_timeout is 1e\\+300; give 1 to 86400 seconds"),
        ({"watchdog": float("nan")}, "watchdog is nan"),
        ({"max_batch": 0}, "max_batch is 0"),
        ({"chunked_prefill_size": 0}, "chunked_prefill_size is 0"),
        ({"max_queued_requests": 0}, "max_queued_requests is 0"),
        ({"batch_fill": "heap"}, "batch_fill is 'heap'; choose spread or pack"),
        ({"ordering": "clockwise"}, "unknown ordering 'clockwise'"),
        ({"ordering": "SR"}, "2 letters for 3 ranks"),
        ({"semantics": "telepathy"}, "unknown semantics 'telepathy'"),
        ({"device": "abacus"}, "unknown device 'abacus'"),
        ({"dtype": "int3"}, "unknown dtype 'int3'"),
        ({"model": "no/such/folder"}, "no/such/folder"),
        ({"record_logits": Path("no/such/folder/logits.pt")}, "there is no folder no/such/folder"),
        ({"ordering": "receive-first"}, "use --ordering parity"),
        ({"semantics": "xccl", "ordering": "send-first"}, "use --ordering parity"),
    ],
)
def test_what_cannot_work_is_refused_before_any_process(
    checkpoint: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Engine(config(checkpoint, **options))


def test_ranks_share_an_accelerator_through_the_host(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def one_accelerator(choice: str, local_rank: int = 0, *, may_share: bool = False) -> Device:
        if choice == HOST:
            return Device(kind=HOST)
        if local_rank > 0 and not may_share:
            raise ValueError("there is one")
        return Device(kind="xpu")

    monkeypatch.setattr("reference.transport.selection.select_device", one_accelerator)
    monkeypatch.setattr(shared_memory.platform, "machine", lambda: "x86_64")
    for options, chosen in (
        ({"device": "auto"}, ("xpu", "shared", HOST_BACKEND)),
        ({"device": "auto", "blocking_isend": True}, ("xpu", "host", HOST_BACKEND)),
        ({"device": "auto", "transport": "device"}, (HOST, "device", HOST_BACKEND)),
        ({"device": HOST, "transport": "host"}, (HOST, "host", HOST_BACKEND)),
        ({"device": HOST}, (HOST, "device", HOST_BACKEND)),
    ):
        engine = Engine(config(checkpoint, **{"pp": 2, **options}))
        assert (engine.config.device, engine.config.transport, engine.config.backend) == chosen
        promised = {"shared": shared_memory.RING_SEMANTICS}.get(chosen[1], "gloo")
        assert engine.transport.semantics == promised
    with pytest.raises(ValueError, match="there is one"):
        Engine(config(checkpoint, device="xpu", pp=2, transport="device"))


@pytest.mark.parametrize(
    ("semantics", "blocking", "chosen"),
    [
        ("auto", False, "send-first"),
        ("auto", True, "parity"),
        ("xccl", False, "parity"),
        ("eager", True, "send-first"),
    ],
)
def test_the_ordering_follows_from_the_declared_semantics(
    checkpoint: Path, semantics: str, blocking: bool, chosen: str
) -> None:
    assert Engine(config(checkpoint, semantics=semantics, blocking_isend=blocking)).ordering.name == chosen
