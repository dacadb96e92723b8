"""The output processor without a pipeline behind it."""

import threading
from typing import Any

import pytest

from reference.engine.detokenizer import StopStringFilter
from reference.engine.output_processor import OutputProcessor, RequestHandle
from reference.engine.outputs import TokenOutput
from reference.scheduling.request import NewToken, Request, SchedulerInput
from reference.scheduling.sampling_params import QueueFull
from tests.patience import stretch
from tests.reference.engine.test_detokenizer import Letters


def ask(*numbers: int) -> list[Request]:
    return [Request(id=number, prompt=(1, 2), max_new_tokens=9) for number in numbers]


class Caller:
    """Someone who waits for outputs."""

    def __init__(self, processor: OutputProcessor, *numbers: int, stops: tuple[str, ...] = ()) -> None:
        self.heard: list[Any] = []
        texts = [StopStringFilter(Letters(), stops) for _ in numbers]  # type: ignore[arg-type]
        self.handle: RequestHandle = processor.add(ask(*numbers), texts, self.hear)

    def hear(self, news: TokenOutput | Exception) -> None:
        self.heard.append(news)


@pytest.fixture
def sent() -> list[SchedulerInput]:
    return []


@pytest.fixture
def processor(sent: list[SchedulerInput]) -> OutputProcessor:
    return OutputProcessor(send=sent.append, capacity=2, max_queued_requests=1, closed=None)


def tokens(*pairs: tuple[int, str], reason: Any = None) -> list[NewToken]:
    return [NewToken(request=number, token=ord(letter), reason=reason) for number, letter in pairs]


def test_each_caller_hears_of_its_own_prompts(processor: OutputProcessor, sent: list[SchedulerInput]) -> None:
    one, two = Caller(processor, 4), Caller(processor, 6, 5)
    assert [request.id for item in sent for request in item.requests] == [4, 6, 5]
    processor.dispatch(tokens((5, "a"), (4, "b")), at=0.0)
    processor.dispatch(tokens((5, "c"), reason="length"), at=0.0)
    assert [(item.index, item.text, item.num_tokens, item.reason) for item in one.heard] == [(0, "b", 1, None)]
    assert [(item.index, item.text, item.num_tokens, item.reason) for item in two.heard] == [
        (1, "a", 1, None),
        (1, "c", 2, "length"),
    ]
    assert one.heard[0].prompt_tokens == 2
    state = processor.stats()
    assert (state.requests, state.running, state.waiting, state.prompt_tokens) == (3, 2, 0, 6)
    assert (state.generated_tokens, state.aborted, state.alive) == (3, 0, True)


def test_a_stop_string_ends_the_request_in_the_pipeline(processor: OutputProcessor, sent: list[SchedulerInput]) -> None:
    caller = Caller(processor, 1, stops=("bc",))
    for letter in "abcd":  # the last one was under way already
        processor.dispatch(tokens((1, letter)), at=0.0)
    assert [(item.text, item.reason) for item in caller.heard] == [("a", None), ("", None), ("", "stop")]
    assert sent[1:] == [SchedulerInput(aborts=(1,))]
    assert processor.stats().aborted == 0


def test_a_stop_token_adds_no_text(processor: OutputProcessor, sent: list[SchedulerInput]) -> None:
    caller = Caller(processor, 1, stops=("ax",))
    processor.dispatch(tokens((1, "a")), at=0.0)
    processor.dispatch(tokens((1, "x"), reason="stop"), at=0.0)
    assert [(item.text, item.reason) for item in caller.heard] == [("", None), ("a", "stop")]
    assert len(sent) == 1, "the pipeline knows"


def test_after_a_cancel_nothing_is_heard(processor: OutputProcessor, sent: list[SchedulerInput]) -> None:
    caller, other = Caller(processor, 1, 2), Caller(processor, 3)
    processor.dispatch(tokens((1, "a"), reason="length"), at=0.0)
    caller.handle.cancel()
    caller.handle.cancel()
    processor.dispatch(tokens((2, "b"), (3, "c")), at=0.0)
    processor.close(RuntimeError("over"))
    assert len(caller.heard) == 1
    assert sent[2:] == [SchedulerInput(aborts=(2,))]
    assert [str(item) for item in other.heard[1:]] == ["over"]
    assert processor.stats().aborted == 1


def test_a_callback_may_cancel_and_may_fail(processor: OutputProcessor, sent: list[SchedulerInput]) -> None:
    heard = []

    def cancels(news: Any) -> None:
        heard.append(news)
        handle.cancel()

    def fails(news: Any) -> None:
        heard.append(news)
        raise RuntimeError("the event loop is closed")

    handle = processor.add(ask(1), [StopStringFilter(None)], cancels)
    processor.add(ask(2), [StopStringFilter(None)], fails)
    for _ in range(2):
        processor.dispatch(tokens((1, "a"), (2, "a")), at=0.0)
    assert len(heard) == 2
    assert sent[2:] == [SchedulerInput(aborts=(1,)), SchedulerInput(aborts=(2,))]


def test_a_full_queue_refuses_all_or_none(processor: OutputProcessor, sent: list[SchedulerInput]) -> None:
    Caller(processor, 1, 2)
    with pytest.raises(QueueFull, match="2 requests would wait, more than max_queued_requests"):
        Caller(processor, 3, 4)
    assert processor.stats().waiting == 0 and len(sent) == 1
    Caller(processor, 3)
    assert processor.stats().waiting == 1
    assert Caller(processor).heard == []  # no prompts are always welcome


def test_a_closed_desk_says_why(processor: OutputProcessor) -> None:
    caller = Caller(processor, 1, 2)
    processor.close(RuntimeError("rank 1 died"))
    assert [str(item) for item in caller.heard] == ["rank 1 died"]
    with pytest.raises(RuntimeError, match="rank 1 died"):
        Caller(processor, 3)
    assert (processor.stats().alive, processor.stats().failure, processor.stats().running) == (False, "rank 1 died", 0)


def test_cancel_waits_for_the_output_at_hand(processor: OutputProcessor) -> None:
    """Another thread cancels while the callback is being told: once `cancel` is back, nothing more comes."""
    telling, go_on, heard = threading.Event(), threading.Event(), []

    def slow(news: Any) -> None:
        telling.set()
        assert go_on.wait(stretch(10))
        heard.append(news)

    handle = processor.add(ask(1, 2), [StopStringFilter(None)] * 2, slow)
    teller = threading.Thread(target=processor.dispatch, args=(tokens((1, "a"), (2, "a")), 0.0))
    teller.start()
    assert telling.wait(stretch(10))
    canceller = threading.Thread(target=handle.cancel)
    canceller.start()
    canceller.join(0.1)
    assert canceller.is_alive(), "it did not wait"
    go_on.set()
    canceller.join(stretch(10))
    told = len(heard)
    teller.join(stretch(10))
    assert 1 <= told == len(heard) <= 2
