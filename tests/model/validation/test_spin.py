"""SPIN as a judge: its verdict and its number of states, on rings and on random programs."""

import itertools
import json
import shutil
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from model.cli.spin import Spin
from model.program.checked import Program, program
from model.program.ops import Irecv, Isend, Recv, Send, Wait
from model.rings.orderings import NAMED
from model.rings.ring_program import STYLES, ring
from model.semantics.libraries import semantics
from model.semantics.lowering import lower
from model.semantics.parameters import Semantics
from model.validation.promela import to_promela
from model.validation.spin import compare, run_spin
from model.validation.spin_ring import compare_loop
from tests.model.small_programs import any_semantics, programs
from tests.patience import stretch


def limits() -> dict[str, float]:
    return {"limit_s": stretch(60), "max_states": 10**7}


@pytest.fixture(autouse=True)
def tools(require: Callable[[str, str], str]) -> None:
    require("spin", "apt-get install spin")
    require("cc", "apt-get install gcc libc6-dev")


# States under the encoding `loop`, parity, rendezvous, 3 rounds (theory, "Proof obligations").
@pytest.mark.parametrize(("ranks", "states"), [(4, 886), (5, 3_615), (7, 67_271)])
def test_known_counts(ranks: int, states: int) -> None:
    found = compare_loop(ranks=ranks, rounds=3, ordering=NAMED["parity"], semantics=semantics("rendezvous"), **limits())
    assert (found.agree, found.verdict, found.states, found.spin.states) == (True, "ok", states, states)


@pytest.mark.parametrize(("name", "promise"), [*itertools.product(NAMED, ("rendezvous", "bounded(1)", "eager"))])
def test_rings_have_the_same_verdict_and_states(name: str, promise: str) -> None:
    ranks, rounds = 2 + len(name) % 4, 1 + len(promise) % 3  # every number of ranks and of rounds occurs
    made = ring(ranks=ranks, rounds=rounds, ordering=NAMED[name])
    found = compare(made, semantics(promise), **limits())
    assert found.agree, found
    assert found.spin.transitions == found.transitions + 1  # SPIN counts one more, into the initial state


@pytest.mark.parametrize(("promise", "verdict"), [("rendezvous", "deadlock"), ("bounded(1)", "ok"), ("eager", "ok")])
def test_loops_of_other_libraries(promise: str, verdict: str) -> None:
    found = compare_loop(ranks=3, rounds=2, ordering=NAMED["send-first"], semantics=semantics(promise), **limits())
    assert (found.agree, found.verdict) == (True, verdict), found


@pytest.mark.parametrize("style", STYLES)
def test_other_styles(style: str) -> None:
    made = ring(ranks=3, rounds=1, ordering=NAMED["parity"], style=style)  # type: ignore[arg-type]
    assert compare(made, semantics("gloo"), **limits()).agree


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        ([[Send(peer=1)], []], "lost"),
        ([[Irecv(peer=1, request=0)], []], "lost"),
        ([[], [Recv(peer=0)]], "deadlock"),
        ([[Isend(peer=1, request=0), Wait(requests=(0,))], [Recv(peer=0)]], "ok"),
    ],
)
def test_every_verdict(made: list[list[object]], verdict: str) -> None:
    found = compare(program(made), semantics("eager"), **limits())  # type: ignore[arg-type]
    assert (found.agree, found.verdict, found.spin.verdict) == (True, verdict, verdict)


def test_the_judge_sees_a_difference() -> None:
    """A wrong export, of another library, does not agree."""
    made = ring(ranks=3, rounds=1, ordering=NAMED["send-first"])
    right, wrong = (
        run_spin(to_promela(lower(made, semantics(name))), limit_s=stretch(60)) for name in ("rendezvous", "eager")
    )
    assert (right.verdict, wrong.verdict) == ("deadlock", "ok")
    assert right.states != wrong.states


@settings(
    max_examples=12,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(programs(native=True), any_semantics)
def test_random_programs_have_the_same_verdict_and_states(made: Program, rules: Semantics) -> None:
    try:
        to_promela(lower(made, rules))
    except ValueError:
        return  # no export, as test_promela says
    found = compare(made, rules, **limits())
    assert found.agree, (found, to_promela(lower(made, rules)))


def test_a_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool: None if tool == "spin" else tool)
    with pytest.raises(ValueError, match="'spin' is missing; on Debian: apt-get install spin"):
        run_spin("init { skip }", limit_s=stretch(60))


def test_a_model_that_spin_refuses() -> None:
    with pytest.raises(ValueError, match="spin"):
        run_spin("this is no Promela", limit_s=stretch(60))


def test_a_verifier_past_its_limit_is_ended() -> None:
    endless = "byte a, b, c, d; active proctype P() { do :: a++ :: b++ :: c++ :: d++ od }"
    with pytest.raises(ValueError, match=r"ran for more than 3 s; raise --limit-s"):
        run_spin(endless, limit_s=3)


def test_the_command_agrees_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert Spin(program="ring", ranks=3, ordering="send-first", json=True).run() == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["agree"], found["verdict"], found["spin"]["verdict"]) == (True, "deadlock", "deadlock")
    assert Spin(program="ring", ranks=2, encoding="loop").run() == 0
    out = capsys.readouterr().out
    assert "they agree" in out
    assert len({line.split()[2] for line in out.splitlines() if line.startswith(("model", "SPIN"))}) == 1
