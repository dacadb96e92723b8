"""The engine when things go wrong: hangs, deaths, bad checkpoints, bad requests; and that no process is ever left."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file, save_file

from model.serving import Phase
from reference.config import EngineConfig
from reference.device import HOST, HOST_BACKEND, Device
from reference.engine import Engine, Output, Params, QueueFull
from reference.preflight import DeadlockAhead
from reference.watchdog import PipelineStuck, RankDied
from tests.reference.checkpoints import save_letters, save_llama

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


def test_a_stream_that_nobody_keeps_is_aborted(engine: Engine) -> None:
    before = engine.state().aborted
    engine.generate([[1, 2, 3]] * 40, 60, ignore_eos=True)
    deadline = time.monotonic() + 30
    while not engine.flush():
        assert time.monotonic() < deadline, "it is still being served"
        time.sleep(0.01)
    assert engine.state().aborted > before


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


@pytest.mark.parametrize(
    ("prompt", "params", "message"),
    [
        ([1.5], Params(), "neither a text nor token ids"),
        (7, Params(), "neither a text nor token ids"),
        ([1], Params(stop=("x",)), "stop strings need a tokenizer"),
        ([1], Params(logprobs=True, top_logprobs=98), "top_logprobs is 98; the vocabulary has 97 tokens"),
        ([1, 2], Params(prompt_logprobs_from=2), "prompt_logprobs_from is 2, but the prompt has 2 tokens"),
        ([1], [Params()] * 2, "2 params for 1 prompts"),
    ],
)
def test_submit_refuses_before_anything_enters(engine: Engine, prompt: Any, params: Any, message: str) -> None:
    before = engine.state()
    with pytest.raises(ValueError, match=message):
        engine.submit([prompt], params, lambda _: None)
    assert engine.state() == before


class Heard:
    """A sink that can be waited for."""

    def __init__(self, prompts: int) -> None:
        self.outputs: list[list[Output]] = [[] for _ in range(prompts)]
        self.errors: list[Exception] = []
        self._left, self._over = prompts, threading.Event()

    def __call__(self, news: Output | Exception) -> None:
        if isinstance(news, Exception):
            self.errors.append(news)
            self._over.set()
            return
        self.outputs[news.index].append(news)
        self._left -= news.reason is not None
        if self._left == 0:
            self._over.set()

    def wait(self) -> list[list[int]]:
        assert self._over.wait(60), "it did not end"
        return [[output.token for output in outputs] for outputs in self.outputs]


def test_every_prompt_has_parameters_of_its_own(engine: Engine) -> None:
    whole = tokens(engine, PROMPTS, 9)
    heard = Heard(3)
    asked = [
        Params(max_new_tokens=4, ignore_eos=True, logprobs=True),
        Params(max_new_tokens=9, stop_token_ids=(whole[1][2],), ignore_eos=True),
        Params(max_new_tokens=2, ignore_eos=True, prompt_logprobs_from=0),
    ]
    engine.submit(PROMPTS, asked, heard)
    until = whole[1].index(whole[1][2]) + 1
    assert heard.wait() == [whole[0][:4], whole[1][:until], whole[2][:2]]
    first, second, third = heard.outputs
    assert [item.made for item in first] == [1, 2, 3, 4] and all(item.logprob is not None for item in first)
    assert (second[-1].reason, second[-1].prompt_tokens, second[-1].logprob) == ("stop", 2, None)
    assert [item.token for item in third[0].prompt_logprobs] == PROMPTS[2] and third[1].prompt_logprobs == ()


def test_the_same_seed_draws_the_same_tokens_whatever_else_is_served(engine: Engine) -> None:
    def drawn(seed: int | None, beside: int = 0) -> list[int]:
        asked = [Params(max_new_tokens=12, temperature=2.0, seed=seed, ignore_eos=True)]
        heard = Heard(1 + beside)
        engine.submit([*PROMPTS[:1], *[[7, 8]] * beside], asked * (1 + beside), heard)
        return heard.wait()[0]

    assert drawn(1) == drawn(1, beside=5) != drawn(2)
    assert drawn(None) != drawn(None)


def test_a_storm_of_aborts_leaves_the_others_alone(engine: Engine) -> None:
    """Sixty callers, of whom every other one goes away sooner or later; the rest get what they get alone."""
    expected = tokens(engine, PROMPTS, 12)
    before, random = engine.state(), Random(0)
    stay, leave = [], []
    for _ in range(30):
        heard = Heard(len(PROMPTS))
        engine.submit(PROMPTS, Params(max_new_tokens=12, ignore_eos=True), heard)
        stay.append(heard)
        ticket = engine.submit([[random.randrange(97)] * 40] * 2, Params(max_new_tokens=20), lambda _: None)
        leave.append(ticket)
        if random.random() < 0.5:
            leave.pop(random.randrange(len(leave))).cancel()
    for ticket in leave:
        ticket.cancel()
    assert all(heard.wait() == expected for heard in stay)
    after = engine.state()
    assert after.requests - before.requests == 30 * 5 and after.aborted > before.aborted
    assert (after.running, after.waiting, after.alive, engine.flush()) == (0, 0, True, True)
    assert tokens(engine, PROMPTS, 12) == expected


def test_more_prompts_than_a_pipe_holds_while_tokens_come_back(engine: Engine) -> None:
    """Neither side waits for the other to read: megabytes go in while the tokens of others come out."""
    stream = engine.generate(PROMPTS, 50, ignore_eos=True)
    next(stream)
    heard = Heard(600)
    engine.submit([[number % 97] * 60 for number in range(600)], Params(max_new_tokens=1), heard)
    assert len(list(stream)) == 149
    assert [len(one) for one in heard.wait()] == [1] * 600


def test_too_many_in_the_queue_are_refused(checkpoint: Path) -> None:
    with Engine(config(checkpoint, pp=1, max_batch=2, max_queue=3)) as engine:
        stream = engine.generate([[1]] * 5, 60, ignore_eos=True)
        with pytest.raises(QueueFull, match="4 requests would wait"):
            engine.generate([[1]], 1)
        assert engine.state().waiting == 3
        stream.close()
        assert len(tokens(engine, [[1]], 1)) == 1


def test_stop_strings_cut_the_text_and_end_the_request(tmp_path: Path) -> None:
    save_letters(tmp_path)
    with Engine(config(tmp_path, pp=2, chunk=4)) as engine:
        (whole,) = ["".join(out.text for out in engine.generate(["hello world"], 40, ignore_eos=True))]
        stop = whole[20:23]
        asked = Params(max_new_tokens=40, ignore_eos=True, stop=("no such text", stop))
        outputs = list(engine.generate(["hello world"], params=asked))
        assert "".join(out.text for out in outputs) == whole[: whole.index(stop)]
        assert (outputs[-1].reason, outputs[-1].made) == ("stop", whole.index(stop) + 3)
        assert engine.flush() and engine.state().aborted == 0
        drawn = Params(max_new_tokens=6, ignore_eos=True, temperature=1.0, seed=4)
        assert [out.token for out in engine.generate(["x"], params=drawn)] == [
            out.token for out in engine.generate(["x"], params=drawn)
        ]


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


def test_a_death_is_told_once_to_each_caller_and_seen_in_the_state(checkpoint: Path) -> None:
    callers = [Heard(3), Heard(1)]
    with Engine(config(checkpoint)) as engine:
        for heard in callers:
            engine.submit(PROMPTS[: len(heard.outputs)], Params(max_new_tokens=LONG, ignore_eos=True), heard)
        os.kill(engine.pids[1], signal.SIGKILL)
        for heard in callers:
            heard.wait()
        assert not engine.state().alive and "rank 1" in engine.state().failure
        with pytest.raises(RankDied, match="rank 1 was ended by signal 9"):
            engine.submit(PROMPTS, Params(), lambda _: None)
    assert [[type(error) for error in heard.errors] for heard in callers] == [[RankDied]] * 2
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
        ({"chunk": 0}, "chunk is 0"),
        ({"max_queue": 0}, "max_queue is 0"),
        ({"fill": "heap"}, "fill is 'heap'; choose spread or pack"),
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
