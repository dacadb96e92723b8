"""`python -m model` on wrong input: status 2, and one line that names the value and the remedy."""

from pathlib import Path

import pytest

from tests.model.conftest import Inside, assert_one_line, run, write

RING4 = ("check", "ring", "--ranks", "4", "--rounds", "2")


def test_a_mistake_is_status_2_and_one_line() -> None:
    done = run(*RING4, "--ordering", "SRS")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: ordering 'SRS' has 3 letters for 4 ranks; give 4 letters\n"


def test_a_wrong_file_is_status_2_and_one_line(tmp_path: Path) -> None:
    file = tmp_path / "program.json"
    file.write_bytes(b'{"programs":[[' + b'{"op":"batch","ops":[' * 450 + b"]}" * 450 + b"]]}")
    done = run("check", str(file))
    assert (done.returncode, done.stdout) == (2, "")
    assert_one_line(done.stderr, "a batch stands in a batch")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"programs": [[{"op": "send", "pee', "begins as JSON and is not"),
        (b'{"programs": [["\xff"]]}', "is no text in UTF-8"),
        (b"[" * 200_000, "begins as JSON and is not"),
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
        (["check", "ring", "--engine", "explorer", "--max-states", "5"], ["more than 5 states"]),
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
    _, _, err = inside("check", "ring", "--engine", "explorer", "--max-states", "1", "--draw", "waits.txt")
    assert_one_line(err, "waits.txt")
