"""What the rows of `gpu` and `multi_gpu` do, each in a process of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from reference.cli.bench_protocol import BatchRun, Case
    from reference.engine.engine import Engine
    from reference.scheduling.batch import ScheduleBatch
    from reference.scheduling.scheduler import Scheduler

WARM_UP_OUTPUT = 16
"""New tokens of the case that warms up."""

DECODE_WARM_UP = 4
"""Decode steps that are not counted."""

Transport = Literal["auto", "device", "host", "shared"]


def engine(
    *,
    model: str,
    device: str,
    dtype: str,
    pp: int,
    transport: Transport,
    max_batch: int,
    requests: int,
    input_len: int,
    output_len: int,
    repeats: int,
    seed: int,
    tp: int = 1,
    trace: Path | None = None,
) -> dict[str, Any]:
    """An engine with random weights, as `python -m reference bench` runs it: a warm-up, then `repeats` equal cases.

    `samples`: of each its five figures, and by prompt when each of its tokens came, in seconds. `tokens`: the greedy
    ones of each prompt of one more case. A microbatch takes as many prompts as it holds, and prefills them in one
    piece.
    """
    from reference.ranks import processes

    with processes.preload_fork_server():
        from reference.cli.bench_protocol import Case, run_all
        from reference.cli.bench_targets import InProcessTarget
        from reference.config import EngineConfig
        from reference.engine.engine import Engine

    settings = EngineConfig(
        model=model,
        load="random",
        seed=seed,
        device=device,
        dtype=dtype,
        pp=pp,
        tp=tp,
        transport=transport,
        max_batch=max_batch,
        context_length=input_len + output_len,
        chunked_prefill_size=max_batch * input_len,
        batch_fill="pack",
        trace=trace,
    )
    warm = Case(batch_size=requests, input_len=input_len, output_len=min(WARM_UP_OUTPUT, output_len))
    case = Case(batch_size=requests, input_len=input_len, output_len=output_len)
    with Engine(settings) as running:
        about = {
            "device": running.device.name,
            "ordering": running.ordering.name,
            "semantics": running.semantics,
            "control": running.transport.control,
            "verdict": running.prediction.verdict if running.prediction is not None else None,
        }
        runs = run_all(InProcessTarget(running), [warm], [case] * repeats, seed, lambda line: None)
        tokens = _greedy_tokens(running, case, seed)
    return {**about, "samples": [_sample(run) for name, run in runs if name == "bench"], "tokens": tokens}


def _greedy_tokens(running: Engine, case: Case, seed: int) -> list[list[int]]:
    """By prompt, what an engine makes of a case's prompts."""
    random, vocabulary = Random(seed), running.shape.vocab_size
    prompts = [random.choices(range(vocabulary), k=case.input_len) for _ in range(case.batch_size)]
    tokens: list[list[int]] = [[] for _ in prompts]
    for output in running.generate(prompts, case.output_len, ignore_eos=True):
        tokens[output.index].append(output.token)
    return tokens


def _sample(run: BatchRun) -> dict[str, Any]:
    """A run's five figures, and `arrivals`: by prompt, when each of its tokens came, in seconds."""
    from reference.cli.bench_protocol import bench_result

    arrivals: list[list[float]] = [[] for _ in range(run.case.batch_size)]
    for item in run.arrivals:
        arrivals[item.prompt_index].append(round(item.seconds, 5))
    return {**asdict(bench_result(run)), "arrivals": arrivals}


def traced_engine(**arguments: Any) -> dict[str, Any]:
    """As `engine`, while every rank writes a trace; `conformance` is what the model says of the whole."""
    from model.traces import jsonl as trace
    from model.traces.conformance import conform

    with TemporaryDirectory() as folder:
        found = engine(**arguments, trace=Path(folder))
        return {**found, "conformance": conform(trace.read(Path(folder) / trace.FILE)).to_json()}


def transformers_generate(
    *, model: str, device: str, dtype: str, batch: int, input_len: int, output_len: int, repeats: int, seed: int
) -> dict[str, Any]:
    """transformers' generate with its static cache on the same shape, warmed up by two whole runs: the latencies."""
    import torch

    from experiments.serving import transformers_baseline
    from reference.device import select_device, select_dtype
    from reference.llama.config import SHAPES

    where = select_device(device)
    torch.manual_seed(seed)
    built = transformers_baseline.build(SHAPES[model], dtype=select_dtype(dtype, where), device=where.torch)
    random = Random(seed)
    samples = []
    for number in range(-2, repeats):
        prompts = [random.choices(range(SHAPES[model].vocab_size), k=input_len) for _ in range(batch)]
        where.synchronize()
        began = time.perf_counter()
        transformers_baseline.generate(
            built, torch.tensor(prompts, device=where.torch), output_len, cache_implementation="static"
        )
        where.synchronize()
        if number >= 0:
            samples.append({"latency": time.perf_counter() - began})
    return {"device": where.name, "transformers": transformers_baseline.version(), "samples": samples}


def stage(
    *,
    model: str,
    device: str,
    dtype: str,
    pp: int,
    number: int,
    batch: int,
    input_len: int,
    output_len: int,
    prefills: int,
    decodes: int,
    seed: int,
) -> dict[str, Any]:
    """Stage `number` of `pp` alone on its device: seconds of `prefills` prefills and of `decodes` decode steps.

    Each is what the pipeline launches for one microbatch, until the device has done it. Decode steps are taken in
    the middle of the output.
    """
    import torch

    from experiments.serving.stage_steps import launch, random_batch, seconds_of
    from reference.checkpoint.loader import load_stage, resolve_checkpoint
    from reference.config import EngineConfig
    from reference.device import select_device, select_dtype
    from reference.llama.config import partition_layers
    from reference.llama.graph_runner import select_runner
    from reference.llama.kv_cache import KVCache

    where = select_device(device)
    torch.set_num_threads(EngineConfig(pp=pp).threads_per_rank(pp))
    kind, source = select_dtype(dtype, where), resolve_checkpoint(model, "random", seed)
    shape = source.config()
    layers = partition_layers(shape.layers, pp)[number]
    first, last = number == 0, number == pp - 1
    tokens = partial(random_batch, Random(seed), vocabulary=shape.vocab_size, batch=batch, output_len=output_len)
    with torch.inference_mode():
        weights = load_stage(source, shape, layers, first, last, kind, where.torch)
        cache = KVCache(shape, len(layers), batch, input_len + output_len, kind, where.torch)
        run = select_runner(weights, cache, where, choice="auto", most=batch)

        def timed(given: ScheduleBatch, count: int, warm: int) -> list[float]:
            hidden = torch.randn(*given.shape, shape.hidden, dtype=kind, device=where.torch)
            return seconds_of(lambda: launch(given, hidden, run, cache, first=first, last=last), where, count, warm)

        return {
            "device": where.name,
            "stage": number,
            "layers": len(layers),
            "batch": batch,
            "prefill_s": timed(tokens(0, input_len), prefills, 1) if prefills else [],
            "decode_s": timed(tokens(input_len + output_len // 2, 1), decodes, DECODE_WARM_UP),
        }


def scheduler(*, in_flight: int, input_len: int, output_len: int, vocabulary: int) -> dict[str, Any]:
    """`iterations_s`: what one decode step of `in_flight` requests in one slot costs beside the stage's own work.

    That is to form the batch, place and pad its tokens, make the tensor, read the answer, finish, and pack what goes
    to the clients. The host alone takes part; decode steps of all requests, one after another.
    """
    import torch

    from reference.scheduling.request import Request
    from reference.scheduling.scheduler import Scheduler

    random = Random(0)
    planner = Scheduler(slots=1, max_batch=in_flight, rows=in_flight, chunk=in_flight * input_len, fill="pack")
    planner.add(
        Request(id=at, prompt=tuple(random.choices(range(vocabulary), k=input_len)), max_new_tokens=output_len)
        for at in range(in_flight)
    )
    answers = torch.tensor(random.choices(range(vocabulary), k=in_flight))
    _iteration(planner, answers)  # the prefill of all
    iterations = []
    for _ in range(output_len - 2):  # the last step also frees the rows
        began = time.perf_counter()
        count = _iteration(planner, answers)
        iterations.append(round(time.perf_counter() - began, 7))
        assert count == in_flight, f"{count} requests decoded instead of {in_flight}"
    return {"in_flight": in_flight, "iterations_s": iterations[DECODE_WARM_UP:]}


def _iteration(planner: Scheduler, answers: Any) -> int:
    """All that a rank does for a batch in Python, but for the loop's own steps; the number of requests in it."""
    from reference.pipeline.input_tensors import forward_batch, input_ids
    from reference.pipeline.output_message import decode_output
    from reference.ranks.ipc import TOKENS
    from reference.scheduling.messages import encode_tokens

    batch = planner.schedule(0)
    assert batch is not None, "a batch of every request"
    input_ids(batch)
    forward_batch(batch)
    tokens = planner.process_output(0, *decode_output(batch, answers))
    json.dumps({TOKENS: encode_tokens(tokens)}).encode()
    return len(batch.rows)


def hops(
    *,
    device: str,
    dtype: str,
    transport: Transport,
    rings: bool,
    shapes: Sequence[Sequence[int]],
    answers: int,
    repeats: int,
) -> dict[str, Any]:
    """Seconds of one way from process to process, by message: half of a ping and its answer.

    transport: through the host's memory (host, shared), or from device to device (device). rings: whether requests go
    through shared memory.
    shapes: of hidden states. answers: numbers of an output message. Beside them a message of one number between
    hosts, which is what says that no request arrived. Each is from the start of the send until what came is there.
    """
    from experiments.serving.hops import Message, ping

    messages = [
        *(Message(name="x".join(map(str, shape)), shape=tuple(shape), dtype=dtype) for shape in shapes),
        Message(name="output", shape=(answers,), dtype="int64", to_host=True),
        Message(name="requests", shape=(1,), dtype="int64", from_host=True, to_host=True),
    ]
    return {"hops": ping(messages, device=device, transport=transport, rings=rings, repeats=repeats)}
