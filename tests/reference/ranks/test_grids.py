"""Real grids of real processes: two ranks share each stage, and serve what one rank would, within rounding."""

import os
import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from model.pipelines.serving import Phase
from reference.config import EngineConfig
from reference.engine.engine import Engine, TokenOutput
from reference.verification.preflight import DeadlockPredicted
from reference.verification.watchdog import PipelineStalled, RankDied
from tests.patience import stretch
from tests.reference.checkpoints import SMALL, oracle_greedy, save_llama
from tests.reference.engine.test_engine import gone
from tests.reference.llama.test_tensor_parallel import ROUNDING
from tests.reference.pipeline.test_driver import MAX_BATCH, NEW, PROMPTS, ROWS, Run, same

pytestmark = pytest.mark.xdist_group("pipeline")

LONG = 200


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    save_llama(folder, shards="20KB")
    return folder


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return save_llama(tmp_path_factory.mktemp("oracle"))


@pytest.fixture(scope="module")
def serve(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """`serve(tp, pp, depth)` runs all prompts at once; each once a module."""
    path = tmp_path_factory.mktemp("logits") / "logits.pt"

    @cache
    def run(tp: int, pp: int, depth: int, **options: Any) -> Run:
        given = config(
            checkpoint,
            tp=tp,
            pp=pp,
            depth=depth,
            context_length=32,
            max_batch=MAX_BATCH,
            max_running_requests=ROWS,
            **options,
        )
        outputs: list[list[TokenOutput]] = [[] for _ in PROMPTS]
        with Engine(EngineConfig(**{**given, "record_logits": path})) as engine:
            assert len(engine.pids) == tp * pp
            assert engine.prediction is not None and engine.prediction.verdict == "ok"
            for output in engine.generate(PROMPTS, NEW, ignore_eos=True):
                outputs[output.index].append(output)
        assert gone(engine.pids)
        return Run(outputs=outputs, record=torch.load(path, weights_only=True))

    return run


def config(checkpoint: Path, **options: Any) -> dict[str, Any]:
    return {"model": str(checkpoint), "device": "cpu", "threads": 1, "context_length": 256, "tp": 2, "pp": 2, **options}


@pytest.mark.parametrize(("pp", "depth"), [(1, 0), (2, 0), (2, 1), (3, 0)])
def test_two_ranks_a_stage_serve_what_one_does(serve: Callable[..., Run], pp: int, depth: int) -> None:
    """The same batches and tokens, and logits within the bound of `test_tensor_parallel.ROUNDING`."""
    shared, alone = serve(2, pp, depth), serve(1, 1, pp + depth - 1)
    assert shared.tokens == alone.tokens
    bound = ROUNDING * SMALL["num_hidden_layers"] * torch.finfo(torch.float32).eps
    differs = False
    for mine, theirs in zip(shared.record, alone.record, strict=True):
        assert (mine["requests"], mine["starts"]) == (theirs["requests"], theirs["starts"])
        assert mine["logits"].shape == theirs["logits"].shape
        difference = (mine["logits"] - theirs["logits"]).abs().max()
        assert difference <= bound * theirs["logits"].abs().max()
        differs |= bool(difference > 0)
    assert differs, "two ranks that round like one have hardly shared the work"


def test_the_split_into_stages_changes_no_bit_of_a_grid(serve: Callable[..., Run]) -> None:
    same(serve(2, 2, 1), serve(2, 3, 0))


def test_greedy_tokens_are_those_of_transformers(serve: Callable[..., Run], oracle: Any) -> None:
    assert serve(2, 2, 0).tokens == [oracle_greedy(oracle, prompt, NEW) for prompt in PROMPTS]


def test_a_blocking_isend_serves_the_same_under_parity(serve: Callable[..., Run]) -> None:
    same(serve(2, 2, 1, blocking_isend=True), serve(2, 2, 1))


def test_random_weights_are_the_same_for_every_grid() -> None:
    texts = []
    for tp, pp, depth in ((1, 1, 1), (2, 2, 0)):
        given = {"model": "tiny", "load": "random", "device": "cpu", "threads": 1, "context_length": 64, "seed": 5}
        with Engine(EngineConfig(**given, tp=tp, pp=pp, depth=depth)) as engine:
            texts.append([(item.index, item.token) for item in sorted_outputs(engine)])
    assert texts[0] == texts[1] and len(set(texts[0])) > 8


def sorted_outputs(engine: Engine) -> list[Any]:
    return sorted(engine.generate([[1, 2, 3], [7]], 16, ignore_eos=True), key=lambda item: item.index)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tp": 3}, r"tp is 3, which does not divide the heads \(4\) of this model; give 1 or 2$"),
        ({"tp": 4}, r"tp is 4, which does not divide the KV heads \(2\) of this model; give 1 or 2$"),
        ({"tp": 0}, "tp is 0; give 1 or more"),
        (
            {"model": "smollm2", "load": "random"},
            r"tp is 2, which does not divide the heads \(9\) of this model; give 1 or 3$",
        ),
    ],
)
def test_what_cannot_be_shared_is_refused(checkpoint: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        Engine(EngineConfig(**config(checkpoint, **options)))
    assert "\n" not in str(refused.value)


# Hangs and deaths


def test_a_deadlock_of_the_grid_is_seen_ahead_and_reported(checkpoint: Path) -> None:
    options = config(checkpoint, blocking_isend=True, ordering="send-first")
    with pytest.raises(DeadlockPredicted, match=r"2 stages of 2 ranks .*use --ordering parity") as refused:
        Engine(EngineConfig(**options))
    foreseen = {item.rank for item in refused.value.result.circuit}
    assert foreseen in ({0, 2}, {1, 3})
    with (
        pytest.raises(PipelineStalled) as caught,
        Engine(EngineConfig(**options, preflight=False, watchdog=stretch(4))) as engine,
    ):
        list(engine.generate(PROMPTS, LONG, ignore_eos=True))
    assert caught.value.circuit == (0, 2)
    assert [(item.phase, item.peer) for item in caught.value.statuses] == [
        (Phase.SEND_OUTPUT, 2),
        (Phase.SEND_OUTPUT, 3),
        (Phase.SEND_OUTPUT, 0),
        (Phase.SEND_OUTPUT, 1),
    ]
    assert gone(engine.pids)


@pytest.fixture
def under_way(checkpoint: Path) -> Iterator[tuple[Engine, Iterator[Any]]]:
    """A grid of 2 x 2 in the middle of its work."""
    engine = Engine(EngineConfig(**config(checkpoint, watchdog=stretch(4))))
    try:
        with engine:
            stream = engine.generate(PROMPTS, LONG, ignore_eos=True)
            next(stream)
            yield engine, stream
    except (PipelineStalled, RankDied):
        pass
    assert gone(engine.pids)


@pytest.mark.parametrize("rank", [1, 2])
def test_a_suspended_rank_is_named_and_who_waits_for_it_in_a_collective(
    under_way: tuple[Engine, Iterator[Any]], rank: int
) -> None:
    engine, stream = under_way
    os.kill(engine.pids[rank], signal.SIGSTOP)
    with pytest.raises(PipelineStalled) as caught:
        list(stream)
    assert caught.value.stopped == {rank} and caught.value.circuit == ()
    beside = caught.value.statuses[rank ^ 1]
    # in a collective that the suspended rank has come to, nobody is late: then its members wait for each other
    assert rank in (beside.waits_for or beside.members), f"{beside} shares the stage of rank {rank}"
    if beside.members:
        assert beside.op.endswith(f"({', '.join(map(str, sorted((rank, rank ^ 1))))})")
    assert f"rank {rank}" in str(caught.value)


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_a_killed_rank_is_named_and_the_others_end(under_way: tuple[Engine, Iterator[Any]], rank: int) -> None:
    engine, stream = under_way
    os.kill(engine.pids[rank], signal.SIGKILL)
    with pytest.raises(RankDied, match=f"rank {rank} was ended by signal 9"):
        list(stream)
