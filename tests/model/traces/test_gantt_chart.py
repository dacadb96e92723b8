"""Pictures of timelines: colours by what is done, sensible units, and room for many ranks."""

import pytest
from matplotlib.figure import Figure

from model.events.simulator import simulate
from model.events.timing import Timing
from model.program.text_form import parse_program
from model.semantics.columns import columns_of
from model.semantics.libraries import semantics
from model.semantics.lowering import lower
from model.traces.gantt_chart import MAX_HEIGHT, gantt, unit_of
from model.traces.simulated import simulated_spans
from model.traces.spans import Span

PAIR = "0: compute(seconds=3.0); send(1); recv(1)\n1: recv(0); send(0)"


def drawn(text: str) -> list[Span]:
    lowered, timing = lower(parse_program(text), semantics("rendezvous")), Timing(latency=2)
    return simulated_spans(lowered, simulate(columns_of(lowered), timing), timing)


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_sends_and_receives_have_their_own_kinds_and_colours() -> None:
    found = {(span.rank, span.kind, span.begin, span.end) for span in drawn(PAIR)}
    assert {(0, "compute", 0, 3), (0, "send", 3, 5), (0, "receive", 5, 7)} <= found
    assert {(1, "wait", 0, 3), (1, "receive", 3, 5), (1, "send", 5, 7)} <= found
    figure = gantt(drawn(PAIR), title="a pair, 2 ranks, under rendezvous")
    assert legend(figure) == ["compute", "send", "receive", "wait"]
    colours = [patch.get_facecolor() for patch in figure.legends[0].get_patches()]
    assert len(set(colours)) == 4
    assert figure.axes[0].get_title() == "a pair, 2 ranks, under rendezvous"
    assert figure.axes[0].get_xlabel() == "transfers"


def test_a_group_of_both_is_a_transfer_and_what_never_ends_is_hatched() -> None:
    group = "batch(isend(1, request=s), irecv(1, request=r))"
    assert {span.kind for span in drawn(f"0: {group}\n1: {group.replace('(1,', '(0,')}")} == {"transfer"}
    assert legend(gantt(drawn("0: recv(1)\n1: compute()"))) == ["wait", "never over"]


@pytest.mark.parametrize(
    ("tick", "unit"), [(1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"), (1e-12, "ns"), (100.0, "s")]
)
def test_seconds_are_shown_in_the_unit_that_fits(tick: float, unit: str) -> None:
    figure = gantt(drawn(PAIR), unit="seconds", tick=tick)
    assert figure.axes[0].get_xlabel() == f"time in {unit}"
    first, last = figure.axes[0].get_xlim()
    assert (last - first) * dict(s=1, ms=1e-3, us=1e-6, ns=1e-9)[unit] == pytest.approx(7 * tick, rel=0.2)


def test_the_unit_leaves_few_digits_before_the_point() -> None:
    assert [unit_of(seconds)[0] for seconds in (5.0, 1.0, 0.999, 1e-5, 2e-9, 0.0)] == ["s", "s", "ms", "us", "ns", "ns"]


@pytest.mark.parametrize("ranks", [4, 64, 1000])
def test_the_picture_grows_with_the_ranks_and_not_without_end(ranks: int) -> None:
    bars = [Span(rank=rank, lane=0, kind="send", op="send", begin=rank, end=rank + 5) for rank in range(ranks)]
    figure = gantt(bars)
    assert figure.get_size_inches()[1] <= MAX_HEIGHT + 1.2
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names[0] == "rank 0"
    assert len(names) == ranks or len(names) <= 250
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_a_timeline_without_spans_can_be_drawn() -> None:
    gantt([])._repr_png_()
