"""Many callers at once, of whom some go away in the middle: nobody's tokens are lost, doubled, or another's."""

import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from reference.config import EngineConfig
from reference.engine.engine import Engine, SamplingParams
from tests.patience import stretch
from tests.reference.checkpoints import save_llama

pytestmark = pytest.mark.xdist_group("engine")

MOST = 20
"""New tokens of the longest answer."""

Heard = list[tuple[int, int, str | None]]
"""Of every output of a prompt: the token, which one it is, and the reason where it is the last."""


class Caller(threading.Thread):
    """One or two prompts of its own, with parameters of its own. `leaves`: after how many outputs it goes away."""

    def __init__(self, engine: Engine, random: Random) -> None:
        super().__init__(daemon=True)
        self._engine = engine
        self.prompts = [
            [random.randrange(97) for _ in range(random.randrange(1, 24))] for _ in range(random.choice((1, 2)))
        ]
        self.params = [
            SamplingParams(
                max_new_tokens=random.randrange(1, MOST),
                temperature=random.choice((0.0, 0.8, 2.0)),
                seed=random.randrange(1000),
                ignore_eos=random.random() < 0.5,
                logprobs=random.random() < 0.2,
            )
            for _ in self.prompts
        ]
        self.leaves = random.choice((None, 0, 1, 5, 9))
        self.heard: list[Heard] = [[] for _ in self.prompts]
        self.failure: Exception | None = None

    def run(self) -> None:
        """Asks, listens, and may go away."""
        try:
            stream = self._engine.generate(self.prompts, params=self.params)
            count = 0
            while count != self.leaves:
                output = next(stream, None)
                if output is None:
                    return
                self.heard[output.index].append((output.token, output.num_tokens, output.reason))
                count += 1
            stream.close()
        except Exception as error:
            self.failure = error

    def alone(self) -> list[Heard]:
        """What each prompt gives when nothing else is served."""
        heard: list[Heard] = []
        for prompt, params in zip(self.prompts, self.params, strict=True):
            outputs = self._engine.generate([prompt], params=params)
            heard.append([(output.token, output.num_tokens, output.reason) for output in outputs])
        return heard


SHAPES: list[dict[str, Any]] = [
    {"pp": 2, "depth": 1, "max_batch": 3, "max_running_requests": 7, "chunked_prefill_size": 8},
    {"pp": 2, "tp": 2, "max_batch": 4, "batch_fill": "pack"},
]
CALLERS = {1: 40, 2: 16}
"""By tp: four ranks on few cores are slow."""


@pytest.fixture(params=SHAPES, ids=["pp=2 depth=1", "pp=2 tp=2"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    save_llama(tmp_path)
    with Engine(
        EngineConfig(model=str(tmp_path), device="cpu", threads=1, context_length=96, **request.param)
    ) as running:
        yield running


def test_each_gets_what_it_gets_alone_whoever_else_comes_and_goes(engine: Engine) -> None:
    random = Random(5)
    callers = [Caller(engine, random) for _ in range(CALLERS[engine.config.tp])]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(stretch(60))
        assert not caller.is_alive(), "it waits for ever"
        assert caller.failure is None
    stayed = [caller for caller in callers if caller.leaves is None]
    left = [caller for caller in callers if caller.leaves is not None]
    assert len(stayed) > 2 and sum(any(caller.heard) for caller in left) > 2
    for caller in callers:
        for heard, alone in zip(caller.heard, caller.alone(), strict=True):
            assert heard == (alone if caller in stayed else alone[: len(heard)])
            assert [made for _, made, _ in alone] == list(range(1, len(alone) + 1))
            assert [reason is None for *_, reason in alone] == [True] * (len(alone) - 1) + [False]
    assert engine.is_idle() and engine.stats().aborted > 2
