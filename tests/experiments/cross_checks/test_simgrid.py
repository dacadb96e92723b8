"""SimGrid beside the model: its verdicts, its threshold and its makespans; what stands where it is missing."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings

from experiments.cross_checks import makespans, smpi
from experiments.cross_checks.makespans import ACTORS, PYTHON, TIMING, equal, simgrid_makespan
from experiments.cross_checks.simgrid import (
    SMOKE,
    Config,
    makespan,
    rings,
    run,
    threshold,
    timed,
)
from model.events.simulator import simulate
from model.events.timing import Timing
from model.program.checked import Program, program
from model.program.ops import NULL, Batch, Isend, Probe, Recv, Send, Sendrecv
from model.program.text_form import parse_program
from model.semantics.columns import columns_of
from model.semantics.libraries import semantics
from model.semantics.lowering import lower
from model.validation import tool
from model.verdict.decide import check
from tests.conftest import missing
from tests.model.small_programs import programs


@pytest.fixture
def mpi(require: Callable[[str, str], str]) -> None:
    require("smpicc", "apt-get install libsimgrid-dev")
    require("cc", "apt-get install gcc libc6-dev")


@pytest.fixture
def actors() -> None:
    ran = subprocess.run([PYTHON, "-I", "-c", "import simgrid"], capture_output=True, check=False)
    if ran.returncode:
        missing(f"the module simgrid of {PYTHON}", "apt-get install python3-simgrid")


def test_the_full_plan_has_every_case_of_the_claim() -> None:
    verdicts = list(rings(Config()))
    assert len(verdicts) == len(set(verdicts)) == 5 * 4 * 4 * 5
    assert {case.ranks for case in verdicts} == {2, 3, 4, 5}
    assert {65535, 65536, 65537} < {case.nbytes for case in verdicts}
    assert {case.library for case in timed(Config())} == {"bsend", "gloo"}
    assert set(rings(SMOKE)) < set(verdicts) and set(timed(SMOKE)) < set(timed(Config()))


def test_a_small_run_agrees_and_sees_both_verdicts(mpi: None, actors: None) -> None:
    config = replace(SMOKE, ranks=(3,))
    found = run(config)
    assert found["simgrid"].startswith("SimGrid version")
    assert found["threshold"] == {"declared": 65535, "measured": 65535}
    assert (len(found["verdicts"]), len(found["makespans"])) == (10, 10)
    for part in ("verdicts", "makespans"):
        assert all(row["agree"] for row in found[part]), found[part]
    seen = {(row["ordering"], row["nbytes"]): row["smpi"] for row in found["verdicts"]}
    assert (seen["send-first", 65535], seen["send-first", 65536]) == ("ok", "deadlock")
    assert {seen["parity", nbytes] for nbytes in config.sizes} == {"ok"}
    assert {row["simgrid"] is None for row in found["makespans"]} == {True, False}


EVERY_CALL = """
0: barrier(); ssend(1, tag=3, comm=A); issend(1, request=a); ibsend(1, request=b, nbytes=70000); wait(a, b); send(null)
1: irecv(0, tag=any, request=x, comm=A); barrier(); wait(x); recv(any); bsend(0); batch(irecv(0, request=r)); recv(null)
"""


def test_every_operation_but_a_probe_is_written(mpi: None) -> None:
    made = parse_program(EVERY_CALL)
    assert not smpi.hangs(made)
    swapped = parse_program("0: sendrecv(1, source=1, nbytes=70000)\n1: sendrecv(0, source=0, nbytes=70000)")
    assert not smpi.hangs(swapped)
    with pytest.raises(ValueError, match="SMPI polls in MPI_Probe"):
        smpi.source(program([[Probe(peer=1)], []]))


@pytest.mark.parametrize(("call", "hangs"), [("ssend(0)", True), ("send(0)", False), ("isend(0, request=a)", False)])
def test_a_send_to_a_rank_that_has_finished_is_no_failure(mpi: None, call: str, hangs: bool) -> None:
    assert smpi.hangs(parse_program(f"0: compute(seconds=0)\n1: compute(seconds=1); {call}")) is hangs


@settings(
    max_examples=15,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
@given(programs())
def test_random_programs_have_the_same_verdict(mpi: None, made: Program) -> None:
    assume(not any(isinstance(op, Probe) for ops in made for op in ops))
    made = program([_large(op) for op in ops] for ops in made)
    assert smpi.hangs(made) is check(made, semantics("smpi")).hangs, smpi.source(made)


def _large(op: object) -> object:
    """What does not fit other libraries does not fit SMPI either."""
    if isinstance(op, Batch):
        return replace(op, ops=tuple(_large(part) for part in op.ops))
    return replace(op, nbytes=65536) if isinstance(op, Send | Isend | Sendrecv) and op.nbytes == 9000 else op


@pytest.mark.parametrize(("nbytes", "stored", "library"), [(1, True, "bsend"), (9, False, "gloo"), (9, True, "bsend")])
@pytest.mark.parametrize(
    "timing", [TIMING, Timing(latency=7, per_byte=3.0), Timing(latency=1, overhead=5, per_byte=1.0)]
)
def test_a_chain_with_late_waits(actors: None, nbytes: int, stored: bool, library: str, timing: Timing) -> None:
    size = f"nbytes={nbytes}"
    made = parse_program(
        f"0: compute(seconds=11); isend(1, request=a, {size}); isend(1, request=b, {size}); compute(seconds=90); "
        "wait(a, b)\n"
        f"1: irecv(0, request=x); compute(seconds=40); irecv(0, request=y); wait(y); send(2, {size}); wait(x)\n"
        "2: compute(seconds=5000); recv(1)\n"
    )
    ours = simulate(columns_of(lower(made, semantics(library))), timing).makespan
    assert ours is not None and equal(ours, simgrid_makespan(made, stored=stored, timing=timing))


def test_a_disagreement_is_seen(actors: None, monkeypatch: pytest.MonkeyPatch) -> None:
    case = next(case for case in timed(SMOKE) if (case.ordering, case.library) == ("parity", "gloo"))
    assert makespan(case, 700, 60.0)["agree"]
    monkeypatch.setattr(makespans, "simgrid_makespan", lambda *_, **__: 1.0)
    assert not makespan(case, 700, 60.0)["agree"]
    assert not equal(None, 1.0) and not equal(1, None) and equal(None, None)


@pytest.mark.parametrize(
    "op", [Send(peer=1, tag=2), Send(peer=NULL), Recv(peer=1, comm="A"), Send(peer=1, mode="sync")]
)
def test_what_the_actors_do_not_have_is_refused(op: object) -> None:
    with pytest.raises(ValueError, match="the actors of SimGrid have no") as error:
        simgrid_makespan(program([[op], []]), stored=True, timing=TIMING)  # type: ignore[list-item]
    assert str(op) in str(error.value)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="gap is 3"):
        simgrid_makespan(program([[]]), stored=True, timing=Timing(gap=3))
    with pytest.raises(ValueError, match=r"per_byte is 2\.0; give more than 0"):
        simgrid_makespan(program([[]]), stored=True, timing=Timing(latency=1, per_byte=2.0))


def test_a_message_of_one_byte_takes_its_latency(actors: None) -> None:
    """SimGrid has one of no bytes arrive when a receive is posted while it is on its way."""
    made = parse_program("0: send(1)\n1: compute(seconds=700); recv(0)")
    assert simgrid_makespan(made, stored=True, timing=Timing(latency=1000, per_byte=2.0)) == 1000


def test_the_search_for_the_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    def library(limit: int) -> Callable[..., bool]:
        return lambda made, **_: made[0][0].nbytes > limit  # type: ignore[union-attr]

    for limit in (1, 77, 4095):
        monkeypatch.setattr(smpi, "hangs", library(limit))
        assert threshold(most=4096)["measured"] == limit
    for limit in (0, 4096):
        monkeypatch.setattr(smpi, "hangs", library(limit))
        with pytest.raises(ValueError, match="at every size from 1 to 4096 bytes"):
            threshold(most=4096)


def test_a_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="jobs is 0; give 1 or more"):
        run(Config(jobs=0))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ValueError, match="'smpicc' is missing; on Debian: apt-get install libsimgrid-dev"):
        run(SMOKE)
    with pytest.raises(ValueError, match="apt-get install python3-simgrid"):
        simgrid_makespan(program([[]]), stored=True, timing=TIMING)


@pytest.mark.parametrize(
    ("status", "said", "why"),
    [
        (0, "finished 0\n", "ended with status 0 and 1 ranks"),
        (1, "finished 0\nfinished 1\n", "ended with status 1"),
        (0, "Deadlock detected\nfinished 0\nfinished 1\n", "and 2 ranks"),
    ],
)
def test_a_run_that_says_neither_is_no_verdict(
    status: int, said: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "need", lambda _: None)
    monkeypatch.setattr(tool, "run", lambda command, **_: (0, "") if command[0] == "smpicc" else (status, said))
    with pytest.raises(ValueError, match=why):
        smpi.hangs(program([[], []]))


def test_actors_that_fail_are_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "need", lambda _: None)
    for said, why in (("No module named 'simgrid'", "apt-get install python3-simgrid"), ("Segfault", "failed: Segf")):
        monkeypatch.setattr(tool, "run", lambda *_, said=said, **__: (1, said))
        with pytest.raises(ValueError, match=why):
            simgrid_makespan(program([[]]), stored=True, timing=TIMING)


def test_the_actors_need_nothing_of_this_repository() -> None:
    lines = Path(ACTORS).read_text().splitlines()
    assert not [line for line in lines if line.startswith(("from model", "from experiments", "import model"))]
