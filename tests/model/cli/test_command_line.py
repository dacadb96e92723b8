"""`python -m model` as a stranger uses it: verdicts, exit statuses, one JSON object, tables."""

import json
from pathlib import Path

import pytest

from model.program.json_form import to_json
from model.rings.orderings import NAMED as ORDERINGS
from model.rings.ring_program import ring
from model.semantics.libraries import NAMED as SEMANTICS
from tests.model.conftest import Inside, run, write

RING4 = ("check", "ring", "--ranks", "4", "--rounds", "2")


# The contract, in processes.


def test_ok_is_status_0_and_one_json_object() -> None:
    done = run(*RING4, "--ordering", "parity", "--semantics", "rendezvous", "--engine", "explorer", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1
    assert json.loads(done.stdout) == {
        "verdict": "ok",
        "states": 13,
        "transitions": 16,
        "engine": "explorer",
        "circuit": [],
        "blocked": [],
        "path": [],
        "lost": [],
        "depends_on_buffering": False,
        "note": "",
        "makespan": None,
        "cure": None,
        "size": None,
    }


def test_a_deadlock_is_status_1_with_its_circuit_and_path() -> None:
    done = run("check", "ring", "--ranks", "3", "--ordering", "SSS", "--semantics", "rendezvous", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)
    assert (found["verdict"], found["states"], found["path"]) == ("deadlock", 1, [])
    assert found["circuit"] == [
        {"rank": rank, "op": f"send({(rank + 1) % 3})", "index": 0, "waits_for": [(rank + 1) % 3]} for rank in range(3)
    ]


def test_a_lost_message_is_status_1_and_the_path_says_how(tmp_path: Path) -> None:
    file = write(tmp_path / "lost.json", [{"op": "compute", "label": "think"}, {"op": "send", "peer": 1}], [])
    done = run("check", file, "--semantics", "eager", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)
    assert (found["verdict"], found["lost"]) == ("lost", ["rank 0: message sent to rank 1, tag 0"])
    assert found["path"] == [
        {"step": 1, "moved": [[0, "compute(label=think)"]]},
        {"step": 2, "moved": [[0, "send(1)"]]},
    ]


def test_space_prints_deadlocks_and_makespans() -> None:
    done = run("space", "--ranks", "6", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "ranks": 6,
        "orderings": 64,
        "deadlocks": 2,
        "makespan": {"2": 2, "3": 18, "4": 18, "5": 12, "6": 12},
        "period": {"2": 20, "3": 30, "6": 12},
        "rotations": {
            "orderings": 14,
            "deadlocks": 2,
            "makespan": {"2": 1, "3": 4, "4": 3, "5": 2, "6": 2},
            "period": {"2": 4, "3": 6, "6": 2},
        },
    }


# The rest inside this process.


POLLING = {"xccl", "xccl-group", "oneccl-group"}
WAITING = POLLING | {"rendezvous", "deferred", "gloo", "ssend", "nccl-cold", "nccl-batched", "hccl", "bounded(0)"}
"""Where even a send of one byte waits: for its receive, or for the other host at the first use of a connection."""


@pytest.mark.parametrize("semantics", [*SEMANTICS, "bounded(0)", "bounded(2)", "bounded:1"])
@pytest.mark.parametrize("ordering", [*ORDERINGS, "SRSR", "RRSS"])
def test_every_name_works_from_the_command_line(inside: Inside, ordering: str, semantics: str) -> None:
    stuck = ordering == "receive-first" or (ordering == "send-first" and semantics in WAITING)
    polls = stuck and ordering == "send-first" and semantics in POLLING
    verdict = "livelock" if polls else "deadlock" if stuck else "ok"
    status, out, err = inside(*RING4, "--ordering", ordering, "--semantics", semantics, "--json")
    assert (status, json.loads(out)["verdict"], err) == (int(stuck), verdict, "")


@pytest.mark.parametrize(("style", "status"), [("send", 1), ("isend-wait", 1), ("isend", 0), ("batch", 0)])
def test_styles_and_sizes(inside: Inside, style: str, status: int) -> None:
    flags = ("--ordering", "send-first", "--semantics", "mpich", "--style", style)
    assert inside(*RING4, *flags, "--nbytes", "8113")[0] == status
    assert inside(*RING4, *flags, "--nbytes", "8112")[0] == 0


@pytest.mark.parametrize("engine", ["explorer", "schedule"])
def test_engines(inside: Inside, engine: str) -> None:
    _, out, _ = inside(*RING4, "--engine", engine, "--json")
    found = json.loads(out)
    assert (found["engine"], found["states"]) == (engine, {"explorer": 13, "schedule": 9}[engine])


def test_the_defaults_are_parity_under_rendezvous(inside: Inside) -> None:
    status, out, err = inside("check", "ring")
    assert (status, err) == (0, "")
    assert out == "ok: 5 states of the one schedule that decides, 4 transitions\n"


def test_a_deadlock_prints_who_waits_for_whom(inside: Inside) -> None:
    status, out, _ = inside("check", "ring", "--ranks", "2", "--ordering", "send-first")
    assert status == 1
    lines = [line.split() for line in out.splitlines()]
    assert lines[0][0] == "deadlock:"
    assert ["0", "send(1)", "at", "0", "1", "circuit"] in lines
    assert ["1", "send(0)", "at", "0", "0", "circuit"] in lines


def test_a_long_path_shows_its_end(inside: Inside, tmp_path: Path) -> None:
    work = [{"op": "compute", "label": f"part {number}"} for number in range(60)]
    _, out, _ = inside("check", write(tmp_path / "long.json", [*work, {"op": "recv", "peer": 0}]))
    assert "path of 60 steps, the last 40" in out
    assert "part 59" in out
    assert "part 20" in out
    assert "part 19" not in out


def test_stuck_ranks_outside_the_circuit_and_lost_messages_are_shown(inside: Inside, tmp_path: Path) -> None:
    send, recv = {"op": "send", "peer": 1, "tag": 7}, {"op": "recv", "peer": 1}
    file = write(tmp_path / "stuck.json", [send, recv], [{"op": "recv", "peer": 0}], [{"op": "recv", "peer": 0}])
    status, out, _ = inside("check", file, "--semantics", "eager")
    assert status == 1
    lines = [line.split() for line in out.splitlines()]
    assert ["1", "recv(0)", "at", "0", "0", "circuit"] in lines
    assert ["2", "recv(0)", "at", "0", "0"] in lines
    assert "rank 0: message sent to rank 1, tag 7" in out


def test_a_chain_to_a_finished_rank_is_not_called_a_circuit(inside: Inside, tmp_path: Path) -> None:
    _, out, _ = inside("check", write(tmp_path / "chain.json", [{"op": "recv", "peer": 1}], []))
    assert ["0", "recv(1)", "at", "0", "1", "chain"] in [line.split() for line in out.splitlines()]
    assert "circuit" not in out


def test_a_program_from_a_file_is_the_named_one(inside: Inside, tmp_path: Path) -> None:
    made = ring(ranks=4, rounds=2, ordering=ORDERINGS["parity"])
    file = write(tmp_path / "ring.json", *[[to_json(op) for op in ops] for ops in made])
    assert inside("check", file, "--json") == inside(*RING4, "--json")


def test_space_as_a_table(inside: Inside) -> None:
    status, out, err = inside("space", "--ranks", "4")
    assert (status, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert lines.count(["deadlock", "2", "2"]) == 2
    assert ["4", "steps", "8", "2"] in lines


def test_names_lists_every_registry(inside: Inside) -> None:
    status, out, err = inside("names", "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert {title: list(entries) for title, entries in found.items() if title != "programs"} == {
        "orderings": list(ORDERINGS),
        "semantics": list(SEMANTICS),
    }
    assert "ring" in found["programs"]
    assert all(about for entries in found.values() for about in entries.values())
    _, table, _ = inside("names")
    assert all(name in table for entries in found.values() for name in entries)


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_drawing(inside: Inside, ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"waits.{ending}"
    assert inside("check", "ring", "--ordering", "send-first", "--draw", str(file))[0] == 1
    assert file.stat().st_size > 1000


def test_help_names_every_command(inside: Inside) -> None:
    status, out, _ = inside("--help")
    assert status == 0
    assert all(command in out for command in ("check", "space", "names"))
