"""The simulator beside the event graph, instruction by instruction; timelines, traces and pictures of it."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from model.events.earliest_run import run
from model.events.simulator import simulate
from model.events.timing import UNIT, Timing, loggp
from model.program.checked import Program
from model.rings.orderings import NAMED, ordering
from model.rings.ring_program import ring, ring_table
from model.semantics.columns import Columns, columns_of
from model.semantics.libraries import semantics
from model.semantics.lowering import lower
from model.semantics.parameters import Semantics
from model.semantics.table import columns_of_table
from model.traces import timeline
from model.traces.simulated import simulated_spans
from tests.model.conftest import Inside
from tests.model.small_programs import any_semantics, programs

timings = st.builds(
    Timing,
    latency=st.integers(0, 5),
    overhead=st.integers(0, 3),
    gap=st.integers(0, 4),
    per_byte=st.sampled_from([0.0, 0.25, 1.0]),
)


def columns(made: Program, rules: Semantics) -> Columns:
    try:
        return columns_of(lower(made, rules))
    except ValueError:
        assume(False)
        raise


@settings(max_examples=400)
@given(programs(), any_semantics, timings)
def test_every_time_is_the_event_graph_s_to_the_last_tick(made: Program, rules: Semantics, timing: Timing) -> None:
    given_columns = columns(made, rules)
    graph, simulation = run(given_columns, timing), simulate(given_columns, timing)
    arrival = graph.built.arrival
    assert np.array_equal(simulation.arrived, graph.times[arrival])
    assert np.array_equal(simulation.passed, graph.times[arrival + 1])
    assert (simulation.hangs, simulation.makespan) == (graph.hangs, graph.makespan)


@pytest.mark.parametrize("ranks", [*range(2, 14), 40, 41])
@pytest.mark.parametrize("rounds", [1, 2, 3, 7, 12, 30])
def test_statement_6_parity_takes_exactly_the_least_steps(ranks: int, rounds: int) -> None:
    given_columns = columns_of_table(
        ring_table(ranks=ranks, rounds=rounds, ordering=NAMED["parity"]), semantics("rendezvous")
    )
    least = 2 * rounds + (0 if ranks % 2 == 0 else -(-2 * rounds // (ranks - 1)))
    assert simulate(given_columns).makespan == run(given_columns).makespan == least


@pytest.mark.parametrize("word", ["SSR", "SRSRR", "SSSR", "RSSRRS"])
def test_statement_4_one_round_takes_one_more_than_the_longest_run(word: str) -> None:
    longest = max(len(part) for part in (word * 2).replace("SR", "S R").replace("RS", "R S").split())
    given_columns = columns_of(
        lower(ring(ranks=len(word), rounds=1, ordering=ordering(word, len(word))), semantics("gloo"))
    )
    assert simulate(given_columns).makespan == 1 + longest


def test_loggp_of_one_message() -> None:
    """L + 2 o + (k - 1) G, as Alexandrov and others have it."""
    timing = loggp(latency=5e-6, overhead=1e-6, per_byte=1e-9)
    made = ring(ranks=2, rounds=1, ordering=NAMED["parity"], nbytes=1001)
    half = simulate(columns_of(lower((made[0][:1], made[1][:1]), semantics("eager"))), timing)
    assert half.makespan is not None
    assert half.makespan * timing.tick == pytest.approx(5e-6 + 2e-6 + 1e-6)


@given(programs(most=4), any_semantics, timings)
def test_spans_of_a_lane_do_not_overlap(made: Program, rules: Semantics, timing: Timing) -> None:
    found = simulate(columns(made, rules), timing)
    spans = simulated_spans(lower(made, rules), found, timing)
    for one, following in pairwise(spans):
        if (one.rank, one.lane) == (following.rank, following.lane):
            assert one.end is not None and one.begin < one.end <= following.begin
    assert any(span.end is None for span in spans) == found.hangs
    trace = timeline.chrome_trace(spans, timing)
    events = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert len(events) == len(spans)
    assert all(event["dur"] >= 0 for event in events)
    json.dumps(trace)


def test_the_command_line(inside: Inside, tmp_path: Path) -> None:
    assert json.loads(inside("simulate", "ring", "--ranks", "5", "--rounds", "4", "--json")[1]) == {
        "hangs": False,
        "makespan": 10,
        "seconds": None,
        "events": 120,
    }
    picture, trace = tmp_path / "gantt.png", tmp_path / "trace.json"
    flags = ("--draw", str(picture), "--trace", str(trace), "--semantics", "nccl", "--latency", "1e-6")
    assert inside("simulate", "ring", "--ranks", "3", *flags)[0] == 0
    assert picture.stat().st_size > 1000
    events = json.loads(trace.read_text())["traceEvents"]
    assert {event["pid"] for event in events} == {0, 1, 2}
    status, out, _ = inside("simulate", "ring", "--ordering", "send-first", "--draw", str(picture))
    assert (status, out.split(",")[0]) == (1, "it hangs")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["simulate", "ring", "--latency", "-1"], "latency is -1"),
        (["simulate", "ring", "--ranks", "100001", "--draw", "x.png"], "cannot be read"),
        (["period", "ring", "--per-byte", "nan"], "per_byte is nan"),
        (["period", "ring", "--ranks", "1"], "ranks is 1"),
    ],
)
def test_wrong_values_are_one_line(inside: Inside, arguments: list[str], said: str) -> None:
    status, out, err = inside(*arguments)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert said in err


def test_units_are_one_tick() -> None:
    assert UNIT.wire(np.array([1, 1000])).tolist() == [1, 1]
