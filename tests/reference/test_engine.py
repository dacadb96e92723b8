"""The engine when things go wrong: hangs, deaths, bad checkpoints, bad requests; and that no process is ever left."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file, save_file

from model.serving import Phase
from reference.config import EngineConfig
from reference.device import HOST, HOST_BACKEND, Device
from reference.engine import Engine
from reference.preflight import DeadlockAhead
from reference.watchdog import PipelineStuck, RankDied
from tests.reference.checkpoints import save_llama

pytestmark = pytest.mark.xdist_group("engine")

PROMPTS = [[3, 1, 4], [1, 5], [92, 65, 35]]
LONG = 200
"""New tokens of a request that is not finished before the test has done its deed."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    save_llama(folder)
    return folder


def config(checkpoint: Path, **options: Any) -> EngineConfig:
    return EngineConfig(**{"model": str(checkpoint), "device": "cpu", "threads": 1, "max_len": 256, "pp": 3, **options})


def gone(pids: tuple[int, ...]) -> bool:
    """Whether no process is left of these (one that has ended and is not yet reaped counts as gone)."""
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=10)
    return not alive


@pytest.fixture(scope="module")
def engine(checkpoint: Path) -> Iterator[Engine]:
    """One healthy engine of two ranks, for tests that leave it healthy."""
    with Engine(config(checkpoint, pp=2, depth=1, max_len=64)) as running:
        yield running
    assert gone(running.pids)


def tokens(engine: Engine, prompts: list[list[int]], new: int) -> list[list[int]]:
    out: list[list[int]] = [[] for _ in prompts]
    for output in engine.generate(prompts, new, ignore_eos=True):
        out[output.index].append(output.token)
    return out


def test_outputs_come_in_order_with_times_and_a_reason_at_the_end(engine: Engine) -> None:
    outputs = list(engine.generate(PROMPTS, 4, ignore_eos=True))
    for index in range(len(PROMPTS)):
        mine = [output for output in outputs if output.index == index]
        assert [output.reason for output in mine] == [None, None, None, "length"]
        assert [output.seconds for output in mine] == sorted(output.seconds for output in mine)
        assert mine[0].seconds > 0
    assert engine.prediction is not None and engine.prediction.verdict == "ok"


def test_a_stop_token_ends_a_text(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tokens(engine, PROMPTS[:1], 8)[0]
    stop = whole[3]
    monkeypatch.setattr(engine, "shape", replace(engine.shape, eos=(stop,)))
    outputs = list(engine.generate(PROMPTS[:1], 8))
    assert [output.token for output in outputs] == whole[: whole.index(stop) + 1]
    assert outputs[-1].reason == "stop"


def test_two_callers_share_an_engine(engine: Engine) -> None:
    """Requests that join while others run get the tokens that they get alone, one to a microbatch or not."""
    alone = [tokens(engine, [prompt], 12)[0] for prompt in PROMPTS]
    together: dict[int, list[int]] = {}

    def call(index: int) -> None:
        together[index] = tokens(engine, [PROMPTS[index]], 12)[0]

    threads = [threading.Thread(target=call, args=(index,)) for index in range(len(PROMPTS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[index] for index in range(len(PROMPTS))] == alone


def test_a_generator_closed_early_leaves_the_engine_in_order(engine: Engine) -> None:
    expected = tokens(engine, PROMPTS[:1], 5)
    stream = engine.generate([[1, 2, 3]] * 40, 60, ignore_eos=True)
    next(stream)
    stream.close()
    assert tokens(engine, PROMPTS[:1], 5) == expected


@pytest.mark.parametrize(
    ("prompts", "new", "message"),
    [
        ([[1], []], 4, "the prompt is empty"),
        ([[1]], 0, "max_new_tokens is 0"),
        ([[1] * 61], 4, "more than the cache holds"),
        ([[1, 97]], 4, "token 97"),
        (["text"], 4, "tokenizer.json does not exist"),
    ],
)
def test_a_bad_request_is_refused_and_the_engine_goes_on(
    engine: Engine, prompts: list[Any], new: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        engine.generate(prompts, new)
    assert len(tokens(engine, PROMPTS, 2)[2]) == 2


def test_no_prompts_give_no_outputs(engine: Engine) -> None:
    assert list(engine.generate([], 4)) == []


def test_an_engine_serves_only_inside_its_with_block(checkpoint: Path) -> None:
    closed = Engine(config(checkpoint, pp=1))
    with pytest.raises(RuntimeError, match="has not started"):
        closed.generate(PROMPTS, 1)
    with closed:
        pass
    with pytest.raises(RuntimeError, match="has ended"):
        closed.generate(PROMPTS, 1)


# Hangs


def test_send_first_under_a_blocking_isend_hangs_and_is_reported(checkpoint: Path) -> None:
    options = {"blocking_isend": True, "ordering": "send-first"}
    with pytest.raises(DeadlockAhead, match="use --ordering parity") as refused:
        Engine(config(checkpoint, **options))
    with (
        pytest.raises(PipelineStuck) as caught,
        Engine(config(checkpoint, **options, preflight=False, watchdog=4)) as engine,
    ):
        tokens(engine, PROMPTS, LONG)
    stuck = caught.value
    assert stuck.circuit == (0, 1, 2)
    assert stuck.circuit == tuple(item.rank for item in refused.value.result.circuit)
    assert [(item.phase, item.kind, item.peer) for item in stuck.positions] == [
        (Phase.SEND_OUTPUT, "isend", 1),
        (Phase.SEND_OUTPUT, "isend", 2),
        (Phase.SEND_OUTPUT, "isend", 0),
    ]
    assert "rank 0 -> rank 1 -> rank 2 -> rank 0" in str(stuck)
    assert gone(engine.pids)


def test_receive_first_hangs_without_any_blocking_isend(checkpoint: Path) -> None:
    with (
        pytest.raises(PipelineStuck) as caught,
        Engine(config(checkpoint, pp=2, ordering="receive-first", preflight=False, watchdog=4)) as engine,
    ):
        tokens(engine, PROMPTS, LONG)
    assert caught.value.circuit == (0, 1)
    assert {item.phase for item in caught.value.positions} == {Phase.RECV_OUTPUT}
    assert gone(engine.pids)


def test_fewer_batches_than_ranks_do_not_hang(checkpoint: Path) -> None:
    """Send-first under a blocking isend needs P consecutive iterations with a batch (statement 8)."""
    with Engine(config(checkpoint, blocking_isend=True, ordering="send-first", preflight=False)) as engine:
        assert [len(out) for out in tokens(engine, PROMPTS[:2], 5)] == [5, 5]


def test_a_suspended_rank_is_named(checkpoint: Path) -> None:
    with (
        pytest.raises(PipelineStuck) as caught,
        Engine(config(checkpoint, watchdog=4)) as engine,
    ):
        stream = engine.generate(PROMPTS, LONG, ignore_eos=True)
        next(stream)
        os.kill(engine.pids[1], signal.SIGSTOP)
        list(stream)
    assert caught.value.stopped == {1}
    assert caught.value.circuit == ()
    assert "the process of rank 1 is suspended" in str(caught.value)
    assert gone(engine.pids)


# Deaths


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_killed_rank_is_named_and_the_others_end(checkpoint: Path, rank: int) -> None:
    with pytest.raises(RankDied) as caught, Engine(config(checkpoint)) as engine:
        stream = engine.generate(PROMPTS, LONG, ignore_eos=True)
        next(stream)
        os.kill(engine.pids[rank], signal.SIGKILL)
        list(stream)
    assert (caught.value.rank, caught.value.exitcode) == (rank, -signal.SIGKILL)
    assert f"rank {rank} was ended by signal 9 in iteration" in str(caught.value)
    assert gone(engine.pids)


def test_a_rank_killed_while_idle_is_noticed_at_the_next_request(checkpoint: Path) -> None:
    with pytest.raises(RankDied, match="rank 1 was ended by signal 9"), Engine(config(checkpoint)) as engine:
        os.kill(engine.pids[1], signal.SIGKILL)
        assert gone(engine.pids)
        tokens(engine, PROMPTS, 1)


def test_leaving_the_block_in_the_middle_ends_every_process(checkpoint: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Engine(config(checkpoint)) as engine:
        next(engine.generate(PROMPTS, LONG, ignore_eos=True))
        raise KeyboardInterrupt
    assert gone(engine.pids)


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
    def one_accelerator(choice: str, local_rank: int = 0, *, shared: bool = False) -> Device:
        if choice == HOST:
            return Device(kind=HOST)
        if local_rank > 0 and not shared:
            raise ValueError("there is one")
        return Device(kind="xpu")

    monkeypatch.setattr("reference.route.select_device", one_accelerator)
    for options, chosen in (
        ({"device": "auto"}, ("xpu", "host", HOST_BACKEND)),
        ({"device": "auto", "transport": "device"}, (HOST, "device", HOST_BACKEND)),
        ({"device": HOST, "transport": "host"}, (HOST, "host", HOST_BACKEND)),
        ({"device": HOST}, (HOST, "device", HOST_BACKEND)),
    ):
        engine = Engine(config(checkpoint, pp=2, **options))
        assert (engine.config.device, engine.config.transport, engine.config.backend) == chosen
        assert engine.semantics == "gloo"
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
