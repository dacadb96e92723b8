"""Results show themselves: as text, as HTML whose texts are escaped, as a picture, as a data frame."""

import pickle
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import model
from model.display.shown import Shown
from model.program.ops import Recv, Send
from model.traces.trace import Trace, TraceEvent
from model.verdict.views.tables import verdict_lines

PAIR = "0: send(1); recv(1)\n1: send(0); recv(0)"
EVIL = '0: irecv(1, request="<script>alert(1)</script>"); wait("<script>alert(1)</script>")\n1: recv(0)'
OPEN = {"br", "img", "hr", "path", "use", "rect", "image", "circle"}


def trace() -> Trace:
    sent = TraceEvent(rank=0, begin=0, end=9000, op=Send(peer=1))
    taken = TraceEvent(rank=1, begin=5000, end=9000, op=Recv(peer=0))
    events = (sent, taken)
    return Trace(ranks=2, loop=None, semantics={"*": "gloo"}, clocks=("a", "a"), events=events, complete=True)


RESULTS: dict[str, Callable[[], Any]] = {
    "result": lambda: model.check(PAIR),
    "result ok": lambda: model.check(PAIR, "eager"),
    "result lost": lambda: model.check([["send(1)"], []], "eager"),
    "result large": lambda: model.check(model.ring("send-first", 200)),
    "result of a table": lambda: model.check(model.ring("send-first", 200_000)),
    "comparison": lambda: model.compare(PAIR, ["gloo", "nccl"]),
    "diagnosis": lambda: model.diagnose(PAIR, "gloo"),
    "cure": lambda: model.cure(PAIR),
    "simulation": lambda: model.simulate(PAIR, "eager"),
    "period": lambda: model.period(PAIR, "eager"),
    "timeline": lambda: model.timeline(PAIR, "eager", latency=1e-5),
    "timeline of a trace": lambda: model.timeline(trace()),
    "synthesis": lambda: model.synthesise("torus", 2, 3),
    "space": lambda: model.space(4),
    "conformance": lambda: model.conform(trace()),
    "libraries": model.libraries,
    "orderings": model.orderings,
}


class Well(HTMLParser):
    """Fails on a tag that is not closed, or closed twice."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        if tag not in OPEN:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in OPEN:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)


@pytest.mark.parametrize("name", RESULTS)
def test_every_result_shows_itself_as_text_and_as_html(name: str) -> None:
    result = RESULTS[name]()
    assert isinstance(result, Shown)
    assert len(str(result).splitlines()) >= 1
    page = Well(result._repr_html_())
    assert page.text.strip()
    assert len(result._repr_html_()) < 300_000


def test_a_deadlock_shows_verdict_table_picture_cure_and_last_steps() -> None:
    shown = Well(model.check(PAIR, "rendezvous", name="my pair")._repr_html_())
    assert {"table", "svg", "del", "ins"} <= shown.tags
    for words in ("deadlock", "my pair, 2 ranks under rendezvous", "who waits for whom", "send(1) at 0"):
        assert words in shown.text
    assert "cure: on rank 0, do send(1) after recv(1)" in shown.text
    path = model.check([["compute()", "send(1)", "recv(1)"], ["send(0)", "recv(0)"]])
    assert "0: compute()" in Well(path._repr_html_()).text


def test_the_text_of_a_result_is_what_the_command_line_prints() -> None:
    result = model.check(PAIR)
    assert str(result) == "\n".join(verdict_lines(result))
    assert str(result).startswith("deadlock: ")


def test_texts_of_the_program_are_escaped() -> None:
    for result in (model.check(EVIL), model.diagnose(EVIL), model.compare(EVIL, ["gloo"])):
        page = result._repr_html_()
        assert "<script" not in page
        assert "alert(1)" in Well(page).text


def test_a_cure_is_a_difference_by_operation() -> None:
    cure = model.cure(PAIR)
    assert cure is not None
    page = cure._repr_html_()
    assert page.count("<del") == page.count("<ins") == 1
    assert str(cure).splitlines()[1:] == ["0: recv(1); send(1)", "1: send(0); recv(0)"]
    with pytest.raises(ValueError, match="no hang to cure"):
        model.cure(PAIR, "eager")


def test_a_timeline_is_a_picture_with_its_title_and_units() -> None:
    shown = model.timeline(PAIR, "eager", latency=1e-5)
    figure = shown.draw()
    assert figure.axes[0].get_title() == "2 ranks under eager"
    assert figure.axes[0].get_xlabel() == "time in us"
    assert "svg" in Well(shown._repr_html_()).tags
    assert shown.chrome_trace()["traceEvents"]
    assert model.timeline(trace()).draw().axes[0].get_title() == "2 ranks on gloo"


def test_a_subject_is_no_part_of_the_evidence() -> None:
    one, other = model.check(PAIR, name="one"), model.check(PAIR, name="other")
    assert one == other
    assert "subject" not in one.to_json()
    assert pickle.loads(pickle.dumps(one)).subject == one.subject


def test_titles_name_the_file_and_every_library(tmp_path: Path) -> None:
    file = tmp_path / "two.txt"
    file.write_text("0: send(1, comm=a); recv(1, comm=b)\n1: recv(0, comm=a); send(0, comm=b)")
    result = model.check(file, {"a": "gloo", "b": "nccl"})
    assert str(result.subject) == "two.txt, 2 ranks under a: gloo, b: nccl"
    assert model.draw(result).axes[0].get_title() == f"ok: {result.subject}"


@pytest.mark.parametrize("name", RESULTS)
def test_every_result_becomes_a_data_frame(name: str, require_module: Callable[[str, str], None]) -> None:
    require_module("pandas", "pip install pandas")
    frame = RESULTS[name]().to_frame()
    assert len(frame.columns) >= 2
    if name == "result":
        assert list(frame["rank"]) == [0, 1]
        assert list(frame["in_circuit"]) == [True, True]


def test_without_pandas_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ValueError, match="pip install pandas"):
        model.check(PAIR).to_frame()
    assert str(model.check(PAIR)).startswith("deadlock")
