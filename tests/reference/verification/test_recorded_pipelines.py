"""Traces of real pipelines: the model allows them, hangs and deaths included."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model.cli.commands import main
from model.pipelines.serving import CONTROL, DATA
from model.pipelines.tensor_parallel import STAGE_CONTROL, STAGE_DATA
from model.program.ops import Isend
from model.semantics.libraries import semantics
from model.traces.conformance import conform
from model.traces.jsonl import FILE, read
from model.traces.recorded import recorded_spans, time_breakdowns
from reference.config import EngineConfig
from reference.device import WARM_SEMANTICS, Device
from reference.engine.engine import Engine
from reference.engine.plan import trace_header
from reference.transport import shared_memory
from reference.transport.selection import TransportChoice
from reference.verification.watchdog import PipelineStalled, RankDied
from tests.patience import stretch

pytestmark = pytest.mark.xdist_group("engine")

PROMPTS = [[3, 1, 4], [1, 5], [92, 65, 35], [8, 9, 7, 9]]


ORDERED = pytest.mark.skipif(not shared_memory.supported(), reason="rings are for x86-64; nothing to install")


def config(checkpoint: Path, record: Path, **options: Any) -> EngineConfig:
    given = {"model": str(checkpoint), "device": "cpu", "threads": 1, "context_length": 256, "pp": 3, "max_batch": 2}
    return EngineConfig(**{**given, "trace": record, **options})


def tokens(engine: Engine, new: int) -> int:
    return sum(1 for _ in engine.generate(PROMPTS, new, ignore_eos=True))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"depth": 2},
        {"blocking_isend": True},
        {"blocking_isend": True, "depth": 1, "pp": 2},
        {"pp": 1},
        {"pp": 2, "tp": 2},
        pytest.param({"transport": "shared", "depth": 1}, marks=ORDERED),
        pytest.param({"transport": "shared", "pp": 2, "tp": 2}, marks=ORDERED),
    ],
    ids=str,
)
def test_a_real_run_is_one_that_the_model_allows(checkpoint: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    with Engine(config(checkpoint, tmp_path, **options)) as engine:
        assert tokens(engine, 6) == 6 * len(PROMPTS)
    trace = read(tmp_path / FILE)
    found = conform(trace)
    assert found.allowed, str(found.violation)
    assert found.complete and found.unobserved == ()
    assert len(set(trace.clocks)) == 1
    assert {item.rank for item in trace.events} == set(range(engine.config.ranks))
    assert all(0.0 < item.part("compute") < 1.0 for item in time_breakdowns(recorded_spans(trace)))
    sizes = {part.op.nbytes for part in trace.events if isinstance(part.op, Isend) and part.phase == "send proxy"}
    assert engine.config.pp == 1 or (sizes and all(size % (32 * 4 // engine.config.tp) == 0 for size in sizes))


def test_a_hang_is_recorded_to_its_end_and_its_circuit_named(checkpoint: Path, tmp_path: Path) -> None:
    limit = round(stretch(3))
    options = {"blocking_isend": True, "ordering": "send-first", "preflight": False, "watchdog": limit}
    with pytest.raises(PipelineStalled) as caught, Engine(config(checkpoint, tmp_path, **options)) as engine:
        tokens(engine, 50)
    trace = read(tmp_path / FILE)
    found = conform(trace)
    assert found.allowed and not found.complete, str(found.violation)
    assert found.deadlock is not None
    assert tuple(item.rank for item in found.deadlock.circuit) == caught.value.circuit == (0, 1, 2)
    assert all(item.op.startswith("isend") for item in found.deadlock.circuit)
    assert trace.note.startswith(f"no rank made progress for {limit} s: deadlock")
    for position in caught.value.statuses:
        last = trace.by_rank()[position.rank][-1]
        assert (last.phase, last.slot, last.iteration, last.end) == (
            position.phase,
            position.slot,
            position.iteration,
            None,
        )


def test_a_killed_rank_leaves_its_record(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(RankDied), Engine(config(checkpoint, tmp_path)) as engine:
        stream = engine.generate(PROMPTS, 200, ignore_eos=True)
        next(stream)
        os.kill(engine.pids[1], signal.SIGKILL)
        list(stream)
    trace = read(tmp_path / FILE)
    found = conform(trace)
    assert found.allowed and not found.complete, str(found.violation)
    assert found.deadlock is None
    assert all(len(mine) > 5 for mine in trace.by_rank())
    assert "rank 1" in trace.note


def test_the_commands_take_the_folder(checkpoint: Path, tmp_path: Path) -> None:
    with Engine(config(checkpoint, tmp_path, pp=2)) as engine:
        tokens(engine, 3)
    for arguments in (["conform", str(tmp_path)], ["timeline", str(tmp_path), "--chrome", str(tmp_path / "out.json")]):
        assert main(arguments, prog="python -m model") == 0
    assert json.loads((tmp_path / "out.json").read_text())["traceEvents"]


def test_a_stage_over_nccl_has_met_before_the_loop_and_its_calls_are_queued() -> None:
    """Its collectives were captured with the decode steps, so none waits for the first use of a connection."""
    transport = TransportChoice(
        device=Device(kind="cuda"), kind="device", backend="nccl", semantics="nccl-cold", rings=True
    )
    found = trace_header(EngineConfig(pp=2, tp=2), transport, ordering="parity", data=transport.semantics)
    assert found.semantics == {
        DATA: "nccl-cold",
        CONTROL: shared_memory.RING_SEMANTICS,
        STAGE_DATA: "nccl",
        STAGE_CONTROL: "gloo",
    }
    assert found.queued == {DATA, STAGE_DATA}
    for cold, warm in WARM_SEMANTICS.items():
        assert replace(semantics(cold), connection="warm", name=warm, source="") == replace(semantics(warm), source="")
