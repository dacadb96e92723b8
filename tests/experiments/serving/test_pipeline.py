"""The serving experiment on a tiny model: real ranks, the hang that is predicted, and the reduction of its samples."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from experiments.serving import pipeline
from experiments.serving.pipeline import Config, collect, predict, prompts, same_tokens, speed
from reference.engine import engine
from reference.engine.engine import TokenOutput
from reference.verification.status_board import RankStatus
from reference.verification.watchdog import PipelineStalled, RankDied
from tests.experiments import samples
from tests.patience import stretch

pytestmark = pytest.mark.xdist_group("teams")

TINY = Config(
    model="tiny",
    load="random",
    pp=(1, 2),
    requests=2,
    max_new_tokens=3,
    repeats=2,
    hang_pp=(2,),
    hang_orderings=("send-first", "parity"),
    watchdog_s=3,
)


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return pipeline.run(replace(TINY, watchdog_s=stretch(TINY.watchdog_s)))


def test_every_run_is_kept_with_every_token(found: dict[str, Any]) -> None:
    assert [(run["pp"], run["repeat"]) for run in found["speed"]] == [(1, 0), (1, 1), (2, 0), (2, 1)]
    for run in found["speed"]:
        assert [len(request["tokens"]) for request in run["requests"]] == [3, 3]
        for request in run["requests"]:
            assert request["seconds"] == sorted(request["seconds"]) and request["seconds"][0] > 0
        assert speed(run["requests"]).tokens_per_s > 0
    assert found["prompts"] == prompts(TINY, 2)


def test_the_tokens_are_the_same_at_every_pp(found: dict[str, Any]) -> None:
    assert same_tokens(found["speed"])


def test_the_pipeline_hangs_where_it_is_predicted_and_nowhere_else(found: dict[str, Any]) -> None:
    trials = {(trial["ordering"], trial["requests"]): trial for trial in found["hangs"]}
    verdicts = {place: (trial["predicted"], trial["samples"][0]["verdict"]) for place, trial in trials.items()}
    assert verdicts == {
        ("send-first", 1): ("ok", "ok"),
        ("send-first", 2): ("deadlock", "hang"),
        ("parity", 1): ("ok", "ok"),
        ("parity", 2): ("ok", "ok"),
    }
    (hung,) = trials["send-first", 2]["samples"]
    assert sorted(hung["circuit"]) == [0, 1]
    assert hung["said"]


@pytest.mark.parametrize("pp", [2, 3, 4, 5])
def test_send_first_is_predicted_to_hang_once_every_slot_is_full(pp: int) -> None:
    verdicts = [predict(pp=pp, name="send-first", requests=requests, tokens=3) for requests in range(1, pp + 1)]
    assert verdicts == ["ok"] * (pp - 1) + ["deadlock"]
    assert {predict(pp=pp, name="parity", requests=requests, tokens=3) for requests in range(1, pp + 1)} == {"ok"}


AT = RankStatus(rank=1, progress=5, since=0.0, phase="forward", iteration=2, slot=0)


def _too_little() -> Iterable[int]:
    return [1]


def _dies() -> Iterable[int]:
    raise RankDied(rank=1, exitcode=-9, status=AT)


def _silent() -> Iterable[int]:
    raise PipelineStalled(statuses=[AT], seconds=3, now=0)


@pytest.mark.parametrize(
    ("deed", "said"),
    [
        (_too_little, "1 tokens instead of 8"),
        (_dies, "rank 1 was ended by signal 9"),
        (_silent, "no rank made progress"),
    ],
)
def test_what_is_no_hang_and_no_finish_is_unclear(
    deed: Callable[[], Iterable[int]], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd:
        """An engine that does its deed instead of serving."""

        def __init__(self, settings: object) -> None: ...
        def __enter__(self) -> "Odd":
            return self

        def __exit__(self, *_: object) -> None: ...
        def generate(self, *_: object, **__: object) -> Iterable[int]:
            return deed()

    monkeypatch.setattr(engine, "Engine", Odd)
    (sample,) = pipeline.hang_run(TINY, pp=2, name="parity", requests=2)["samples"]
    assert (sample["verdict"], sample["circuit"]) == ("unclear", ())
    assert said in "".join(sample["said"])


def test_outputs_are_collected_by_request() -> None:
    outputs = [
        TokenOutput(index=1, token=7, text="", elapsed=0.123456, reason=None),
        TokenOutput(index=0, token=5, text="", elapsed=0.2, reason=None),
        TokenOutput(index=1, token=8, text="", elapsed=0.3, reason="length"),
    ]
    assert collect(outputs) == [
        {"tokens": [5], "seconds": [0.2]},
        {"tokens": [7, 8], "seconds": [0.1235, 0.3]},
    ]


def test_the_reduction_is_by_the_last_token() -> None:
    requests = [{"tokens": [1, 2], "seconds": [0.5, 2.0]}, {"tokens": [1, 2, 3], "seconds": [1.5, 2.0, 2.5]}]
    found = speed(requests)
    assert (found.tokens_per_s, found.ttft_s, found.latency_s) == (2.0, 1.0, 2.25)


def test_other_tokens_are_noticed() -> None:
    assert same_tokens([samples.speed(1), samples.speed(2)])
    assert not same_tokens([samples.speed(1), samples.speed(2, tokens=4)])
    assert not same_tokens([])


def test_prompts_repeat_and_are_bytes_for_random_weights() -> None:
    texts = prompts(Config(), 9)
    assert texts[8] == texts[0] == pipeline.PROMPTS[0]
    assert prompts(TINY, 1) == [list(pipeline.PROMPTS[0].encode())]


@pytest.mark.parametrize("name", ["requests", "repeats"])
def test_nothing_to_do_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0; give 1 or more"):
        pipeline.run(replace(TINY, **{name: 0}))
