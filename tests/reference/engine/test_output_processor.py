"""The front desk and the text that it hands out, without a pipeline behind it."""

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.engine.output_processor import Desk, Ticket
from reference.engine.outputs import Output, TextOut
from reference.scheduling.request import NewToken, Request, SchedulerInput
from reference.scheduling.sampling_params import QueueFull
from tests.patience import stretch


class Letters:
    """Stands in for a decoder of tokens that are code points; two tokens make one character if the first is 0."""

    def __init__(self) -> None:
        self._half = False

    def push(self, token: int) -> str:
        text = "" if token == 0 else "é" if self._half else chr(token)
        self._half = token == 0
        return text

    def finish(self) -> str:
        return "\ufffd" if self._half else ""


def shown(text: str, stops: list[str]) -> tuple[list[str], bool]:
    """The pieces of a text, letter by letter, up to a stop string; whether one came."""
    out, pieces = TextOut(Letters(), stops), []  # type: ignore[arg-type]
    for letter in text:
        piece, cut = out.push(ord(letter))
        pieces.append(piece)
        if cut:
            return pieces, True
    piece, cut = out.finish()
    return [*pieces, piece], cut


def cut_at(text: str, stops: list[str]) -> tuple[str, bool]:
    """The text before the stop string that is complete first (the longest, where several are)."""
    for end in range(1, len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            return text[: min(starts)], True
    return text, False


@given(st.text("ab", max_size=12), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_a_text_ends_before_its_first_stop_string(text: str, stops: list[str]) -> None:
    pieces, cut = shown(text, stops)
    assert ("".join(pieces), cut) == cut_at(text, stops)


def test_only_what_may_begin_a_stop_string_is_held_back() -> None:
    assert shown("one END", ["END", "e!"]) == (["o", "n", "", "e ", "", "", ""], True)
    assert shown("EE", ["END"]) == (["", "E", "E"], False)


def test_the_rest_of_half_a_character_may_still_end_in_a_stop_string() -> None:
    out = TextOut(Letters(), ["x\ufffd"])  # type: ignore[arg-type]
    assert [out.push(ord("a")), out.push(ord("x")), out.push(0)] == [("a", False), ("", False), ("", False)]
    assert out.finish() == ("", True)


def test_without_a_tokenizer_there_is_no_text() -> None:
    out = TextOut(None)
    assert (out.push(65), out.finish()) == (("", False), ("", False))


def ask(*numbers: int) -> list[Request]:
    return [Request(id=number, prompt=(1, 2), max_new_tokens=9) for number in numbers]


class Caller:
    """Someone who waits at a desk."""

    def __init__(self, desk: Desk, *numbers: int, stops: tuple[str, ...] = ()) -> None:
        self.heard: list[Any] = []
        texts = [TextOut(Letters(), stops) for _ in numbers]  # type: ignore[arg-type]
        self.ticket: Ticket = desk.take(ask(*numbers), texts, self.hear)

    def hear(self, news: Output | Exception) -> None:
        self.heard.append(news)


@pytest.fixture
def sent() -> list[SchedulerInput]:
    return []


@pytest.fixture
def desk(sent: list[SchedulerInput]) -> Desk:
    return Desk(send=sent.append, capacity=2, max_queued_requests=1, closed=None)


def tokens(*pairs: tuple[int, str], reason: Any = None) -> list[NewToken]:
    return [NewToken(request=number, token=ord(letter), reason=reason) for number, letter in pairs]


def test_each_caller_hears_of_its_own_prompts(desk: Desk, sent: list[SchedulerInput]) -> None:
    one, two = Caller(desk, 4), Caller(desk, 6, 5)
    assert [request.id for item in sent for request in item.requests] == [4, 6, 5]
    desk.hand_out(tokens((5, "a"), (4, "b")), at=0.0)
    desk.hand_out(tokens((5, "c"), reason="length"), at=0.0)
    assert [(item.index, item.text, item.made, item.reason) for item in one.heard] == [(0, "b", 1, None)]
    assert [(item.index, item.text, item.made, item.reason) for item in two.heard] == [
        (1, "a", 1, None),
        (1, "c", 2, "length"),
    ]
    assert one.heard[0].prompt_tokens == 2
    state = desk.state()
    assert (state.requests, state.running, state.waiting, state.prompt_tokens) == (3, 2, 0, 6)
    assert (state.generated_tokens, state.aborted, state.alive) == (3, 0, True)


def test_a_stop_string_ends_the_request_in_the_pipeline(desk: Desk, sent: list[SchedulerInput]) -> None:
    caller = Caller(desk, 1, stops=("bc",))
    for letter in "abcd":  # the last one was under way already
        desk.hand_out(tokens((1, letter)), at=0.0)
    assert [(item.text, item.reason) for item in caller.heard] == [("a", None), ("", None), ("", "stop")]
    assert sent[1:] == [SchedulerInput(aborts=(1,))]
    assert desk.state().aborted == 0


def test_a_stop_token_adds_no_text(desk: Desk, sent: list[SchedulerInput]) -> None:
    caller = Caller(desk, 1, stops=("ax",))
    desk.hand_out(tokens((1, "a")), at=0.0)
    desk.hand_out(tokens((1, "x"), reason="stop"), at=0.0)
    assert [(item.text, item.reason) for item in caller.heard] == [("", None), ("a", "stop")]
    assert len(sent) == 1, "the pipeline knows"


def test_after_a_cancel_nothing_is_heard(desk: Desk, sent: list[SchedulerInput]) -> None:
    caller, other = Caller(desk, 1, 2), Caller(desk, 3)
    desk.hand_out(tokens((1, "a"), reason="length"), at=0.0)
    caller.ticket.cancel()
    caller.ticket.cancel()
    desk.hand_out(tokens((2, "b"), (3, "c")), at=0.0)
    desk.close(RuntimeError("over"))
    assert len(caller.heard) == 1
    assert sent[2:] == [SchedulerInput(aborts=(2,))]
    assert [str(item) for item in other.heard[1:]] == ["over"]
    assert desk.state().aborted == 1


def test_a_sink_may_cancel_and_may_fail(desk: Desk, sent: list[SchedulerInput]) -> None:
    heard = []

    def cancels(news: Any) -> None:
        heard.append(news)
        ticket.cancel()

    def fails(news: Any) -> None:
        heard.append(news)
        raise RuntimeError("the event loop is closed")

    ticket = desk.take(ask(1), [TextOut(None)], cancels)
    desk.take(ask(2), [TextOut(None)], fails)
    for _ in range(2):
        desk.hand_out(tokens((1, "a"), (2, "a")), at=0.0)
    assert len(heard) == 2
    assert sent[2:] == [SchedulerInput(aborts=(1,)), SchedulerInput(aborts=(2,))]


def test_a_full_queue_refuses_all_or_none(desk: Desk, sent: list[SchedulerInput]) -> None:
    Caller(desk, 1, 2)
    with pytest.raises(QueueFull, match="2 requests would wait, more than max_queued_requests"):
        Caller(desk, 3, 4)
    assert desk.state().waiting == 0 and len(sent) == 1
    Caller(desk, 3)
    assert desk.state().waiting == 1
    assert Caller(desk).heard == []  # no prompts are always welcome


def test_a_closed_desk_says_why(desk: Desk) -> None:
    caller = Caller(desk, 1, 2)
    desk.close(RuntimeError("rank 1 died"))
    assert [str(item) for item in caller.heard] == ["rank 1 died"]
    with pytest.raises(RuntimeError, match="rank 1 died"):
        Caller(desk, 3)
    assert (desk.state().alive, desk.state().failure, desk.state().running) == (False, "rank 1 died", 0)


def test_cancel_waits_for_the_output_at_hand(desk: Desk) -> None:
    """Another thread cancels while the sink is being told: once `cancel` is back, nothing more comes."""
    telling, go_on, heard = threading.Event(), threading.Event(), []

    def slow(news: Any) -> None:
        telling.set()
        assert go_on.wait(stretch(10))
        heard.append(news)

    ticket = desk.take(ask(1, 2), [TextOut(None)] * 2, slow)
    teller = threading.Thread(target=desk.hand_out, args=(tokens((1, "a"), (2, "a")), 0.0))
    teller.start()
    assert telling.wait(stretch(10))
    canceller = threading.Thread(target=ticket.cancel)
    canceller.start()
    canceller.join(0.1)
    assert canceller.is_alive(), "it did not wait"
    go_on.set()
    canceller.join(stretch(10))
    told = len(heard)
    teller.join(stretch(10))
    assert 1 <= told == len(heard) <= 2
