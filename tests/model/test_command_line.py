"""`python -m model` as a stranger uses it: verdicts, exit statuses, one JSON object, one line for each mistake."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from model.forms import to_json
from model.libraries import NAMED as SEMANTICS
from model.orderings import NAMED as ORDERINGS
from model.programs import ring
from tests.model.conftest import Inside

RING4 = ("check", "ring", "--ranks", "4", "--rounds", "2")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "model", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def write(file: Path, *ranks: list[dict[str, Any]]) -> str:
    file.write_text(json.dumps({"programs": list(ranks)}))
    return str(file)


# The contract, in processes.


def test_ok_is_status_0_and_one_json_object() -> None:
    done = run(*RING4, "--ordering", "parity", "--semantics", "rendezvous", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1
    assert json.loads(done.stdout) == {
        "verdict": "ok",
        "states": 13,
        "transitions": 16,
        "engine": "explorer",
        "circuit": [],
        "blocked": [],
        "trace": [],
        "lost": [],
        "depends_on_buffering": False,
        "note": "",
        "makespan": None,
        "cure": None,
    }


def test_a_deadlock_is_status_1_with_its_circuit_and_trace() -> None:
    done = run("check", "ring", "--ranks", "3", "--ordering", "SSS", "--semantics", "rendezvous", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)
    assert (found["verdict"], found["states"], found["trace"]) == ("deadlock", 1, [])
    assert found["circuit"] == [
        {"rank": rank, "op": f"send({(rank + 1) % 3})", "index": 0, "waits_for": [(rank + 1) % 3]} for rank in range(3)
    ]


def test_a_lost_message_is_status_1_and_the_trace_says_how(tmp_path: Path) -> None:
    file = write(tmp_path / "lost.json", [{"op": "compute", "label": "think"}, {"op": "send", "peer": 1}], [])
    done = run("check", file, "--semantics", "eager", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)
    assert (found["verdict"], found["lost"]) == ("lost", ["rank 0: message sent to rank 1, tag 0"])
    assert found["trace"] == [
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


def test_a_mistake_is_status_2_and_one_line() -> None:
    done = run(*RING4, "--ordering", "SRS")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: ordering 'SRS' has 3 letters for 4 ranks; give 4 letters\n"


def test_a_wrong_file_is_status_2_and_one_line(tmp_path: Path) -> None:
    file = tmp_path / "program.json"
    file.write_bytes(b'{"programs":[[' + b'{"op":"batch","ops":[' * 450 + b"]}" * 450 + b"]]}")
    done = run("check", str(file))
    assert (done.returncode, done.stdout) == (2, "")
    assert_one_line(done.stderr, "nested too deeply")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"programs": [[{"op": "send", "pee', "is not JSON"),
        (b'{"programs": [["\xff"]]}', "is not JSON"),
        (b"[" * 200_000, "is not JSON"),
        (b'{"programs": [[{"op": "send", "peer": ' + b"9" * 4000 + b"}]]}", "there is no rank 999"),
        (b'{"programs": [[{"op": "send", "peer": 0, "nbytes": -1e999}]]}', "-inf"),
    ],
    ids=["truncated", "not UTF-8", "deep", "huge number", "infinite number"],
)
def test_other_wrong_files(inside: Inside, content: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "program.json"
    file.write_bytes(content)
    status, out, err = inside("check", str(file))
    assert (status, out) == (2, "")
    assert_one_line(err, said)


def test_an_unknown_flag_is_status_2_without_a_traceback() -> None:
    """The argument parser answers with a box of several lines."""
    done = run("check", "ring", "--colour", "red")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--colour" in done.stderr
    assert "Traceback" not in done.stderr


def assert_one_line(stderr: str, *said: str) -> None:
    assert stderr.startswith("error: ")
    assert stderr.endswith("\n")
    assert len(stderr.splitlines()) == 1
    for words in said:
        assert words in stderr


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
    assert out == "ok: 7 states explored, 8 transitions\n"


def test_a_deadlock_prints_who_waits_for_whom(inside: Inside) -> None:
    status, out, _ = inside("check", "ring", "--ranks", "2", "--ordering", "send-first")
    assert status == 1
    lines = [line.split() for line in out.splitlines()]
    assert lines[0][0] == "deadlock:"
    assert ["0", "send(1)", "at", "0", "1", "circuit"] in lines
    assert ["1", "send(0)", "at", "0", "0", "circuit"] in lines


def test_a_long_trace_shows_its_end(inside: Inside, tmp_path: Path) -> None:
    work = [{"op": "compute", "label": f"part {number}"} for number in range(60)]
    _, out, _ = inside("check", write(tmp_path / "long.json", [*work, {"op": "recv", "peer": 0}]))
    assert "trace of 60 steps, the last 40" in out
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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "rings"], ["'rings'", "ring"]),
        (["check", ""], ["''"]),
        (["check", "x" * 5000], ["xxx"]),
        (["check", "ring", "--ranks", "1"], ["ranks is 1", "2 or more"]),
        (["check", "ring", "--ranks", "0"], ["ranks is 0"]),
        (["check", "ring", "--ranks", "-3"], ["ranks is -3"]),
        (["check", "ring", "--rounds", "0"], ["rounds is 0"]),
        (["check", "ring", "--rounds", "-1"], ["rounds is -1"]),
        (["check", "ring", "--nbytes", "-1"], ["nbytes is -1"]),
        (["check", "ring", "--ordering", "odd"], ["'odd'", "parity", "SRS"]),
        (["check", "ring", "--ordering", ""], ["''"]),
        (["check", "ring", "--ordering", "SR"], ["'SR'", "4 letters"]),
        (["check", "ring", "--semantics", "nickel"], ["'nickel'", "rendezvous", "bounded(k)"]),
        (["check", "ring", "--semantics", "bounded(x)"], ["'bounded(x)'"]),
        (["check", "ring", "--semantics", "bounded(-2)"], ["bounded(-2)", "negative"]),
        (["check", "ring", "--semantics", "bounded(2"], ["'bounded(2'"]),
        (["check", "ring", "--max-states", "5"], ["more than 5 states"]),
        (["check", "ring", "--max-states", "-5"], ["max_states is -5", "1 or more"]),
        (["check", "ring", "--draw", "waits.txt"], ["'waits.txt'", ".png"]),
        (["check", "ring", "--draw", "absent/waits.png"], ["'absent/waits.png'", "folder"]),
        (["space", "--ranks", "1"], ["ranks is 1", "2 to 28"]),
        (["space", "--ranks", "-1"], ["ranks is -1"]),
        (["space", "--ranks", "29"], ["ranks is 29"]),
        (["space", "--ranks", "9" * 40], ["9" * 40]),
    ],
)
def test_a_wrong_value_is_status_2_and_one_line(inside: Inside, arguments: list[str], said: list[str]) -> None:
    status, out, err = inside(*arguments)
    assert (status, out) == (2, "")
    assert_one_line(err, *said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "check"),
        (["prove"], "prove"),
        (["check"], "named program"),
        (["space"], "--ranks"),
        (["check", "ring", "--ranks", "four"], "four"),
        (["check", "ring", "--ranks", "1e3"], "1e3"),
        (["check", "ring", "--style", "sendrecv"], "sendrecv"),
        (["check", "ring", "--engine", "spin"], "spin"),
        (["check", "ring", "--ranks"], "--ranks"),
        (["space", "--ranks", "4.5"], "4.5"),
    ],
)
def test_what_the_argument_parser_refuses_is_status_2(inside: Inside, arguments: list[str], said: str) -> None:
    """It answers with a box of several lines that names the flag or the value."""
    status, out, err = inside(*arguments)
    assert (status, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


def test_line_ends_in_a_file_do_not_break_the_one_line(inside: Inside, tmp_path: Path) -> None:
    file = write(tmp_path / "lines.json", [{"op": "send", "peer": 5, "comm": "a\nb\u2028c\rd"}])
    status, out, err = inside("check", file)
    assert (status, out) == (2, "")
    assert_one_line(err, "rank 5")


def test_a_folder_is_no_program(inside: Inside, tmp_path: Path) -> None:
    status, _, err = inside("check", str(tmp_path))
    assert status == 2
    assert_one_line(err, repr(str(tmp_path)))


def test_one_schedule_refuses_wildcards(inside: Inside, tmp_path: Path) -> None:
    file = write(tmp_path / "any.json", [{"op": "recv", "peer": "any"}], [{"op": "send", "peer": 0}])
    status, _, err = inside("check", file, "--engine", "schedule")
    assert status == 2
    assert_one_line(err, "wildcard")
    assert inside("check", file)[0] == 0


def test_a_drawing_that_cannot_be_made_is_refused_before_the_search(inside: Inside) -> None:
    """Else this search would end in `more than 1 states` first."""
    _, _, err = inside("check", "ring", "--max-states", "1", "--draw", "waits.txt")
    assert_one_line(err, "waits.txt")


def test_help_names_every_command(inside: Inside) -> None:
    status, out, _ = inside("--help")
    assert status == 0
    assert all(command in out for command in ("check", "space", "names"))
