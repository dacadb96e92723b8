"""The commands beside `check` and `space`: suite, hangs, schedules, synth, as their users type them."""

import json
from pathlib import Path

import pytest

from model.validation.reported_hangs import known_hangs
from tests.model.conftest import Inside

SEND, RECV = {"op": "send", "peer": 1}, {"op": "recv", "peer": 0}


def case(expected: str, *ranks: list[dict[str, object]], buffering: str = "zero", **more: object) -> dict[str, object]:
    return {"expected": expected, "buffering": buffering, "programs": list(ranks), **more}


def suite(folder: Path, *cases: object) -> str:
    file = folder / "suite.json"
    file.write_text(json.dumps({"cases": list(cases)}))
    return str(file)


def test_a_suite_that_agrees(inside: Inside, tmp_path: Path) -> None:
    both = [[{"op": "send", "peer": 1}, {"op": "recv", "peer": 1}], [{"op": "send", "peer": 0}, RECV]]
    file = suite(
        tmp_path,
        case("ok", [SEND], [RECV]),
        case("error", *both),
        case("ok", *both, buffering="infinite"),
        case("error", *both, buffering="either"),
        case("error", [SEND], [], buffering="infinite"),
    )
    status, out, err = inside("suite", file, "--json")
    assert (status, json.loads(out), err) == (0, {"total": 5, "agree": 5, "disagreements": []}, "")
    assert inside("suite", file)[1] == "5 of 5 cases agree\n"


def test_a_suite_that_disagrees_says_where(inside: Inside, tmp_path: Path) -> None:
    file = suite(tmp_path, case("ok", [SEND], [RECV]), case("error", [SEND], [RECV], name="mislabelled"))
    status, out, _ = inside("suite", file, "--json")
    found = json.loads(out)
    assert (status, found["total"], found["agree"]) == (1, 2, 1)
    assert found["disagreements"] == [
        {
            "number": 1,
            "name": "mislabelled",
            "expected": "error",
            "found": "ok",
            "verdicts": {"zero": "ok"},
            "error": None,
        }
    ]
    assert "mislabelled" in inside("suite", file)[1]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (7, "7 stands where object is expected"),
        (case("ok", [SEND], [RECV], colour="red"), "unknown field 'colour'"),
        (case("perhaps", [SEND], [RECV]), "expected is 'perhaps'"),
        (case("ok", [SEND], [RECV], buffering="some"), "buffering is 'some'"),
        (case("ok", [SEND], [RECV], ranks=3), "ranks is 3, but there are 2"),
        (case("ok", [{"op": "shout"}]), "unknown operation 'shout'"),
        (case("ok", [{"op": "send", "peer": 5}]), "there is no rank 5"),
        ({"expected": "ok", "buffering": "zero"}, "programs is missing"),
    ],
)
def test_a_case_that_cannot_be_read_is_a_disagreement(inside: Inside, tmp_path: Path, wrong: object, said: str) -> None:
    status, out, _ = inside("suite", suite(tmp_path, wrong, case("ok", [SEND], [RECV])), "--json")
    found = json.loads(out)
    assert (status, found["total"], found["agree"]) == (1, 2, 1)
    assert said in found["disagreements"][0]["error"]


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"cases": 1}', b'{"cases": [], "colour": 1}', b"\xff\xfe"])
def test_what_is_no_suite_is_one_line(inside: Inside, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "suite.json"
    file.write_bytes(content)
    status, out, err = inside("suite", str(file), "--json")
    assert (status, out, len(err.splitlines())) == (2, "", 1)


def test_every_reported_hang_is_explained_and_drawn(inside: Inside, tmp_path: Path) -> None:
    status, out, err = inside("hangs", "--json", "--draw", str(tmp_path / "drawn"))
    found = json.loads(out)
    assert (status, err, found["agree"]) == (0, "", len(known_hangs()))
    assert all(item["verdict"] in ("deadlock", "livelock") and item["agrees"] for item in found["reports"])
    assert len(list((tmp_path / "drawn").glob("*.png"))) == len(known_hangs())


def test_one_hang_for_people(inside: Inside) -> None:
    status, out, _ = inside("hangs", "nccl#479")
    assert status == 0
    assert out.startswith("nccl#479: ")
    assert "reported cure: group the pair: ok" in out
    assert "torch-ccl" not in out
    assert inside("hangs", "nccl#0")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "steps"),
    [
        (["ring", "--ranks", "6"], 2),
        (["ring", "--ranks", "5"], 3),
        (["ring", "--ranks", "5", "--rounds", "4"], 10),
        (["chain", "--ranks", "7"], 2),
        (["bidirectional", "--ranks", "4"], 4),
        (["torus", "--rows", "2", "--columns", "4"], 4),
        (["stages", "--rows", "4", "--columns", "2"], 4),
    ],
)
def test_synthesis_of_named_patterns_is_optimal(
    inside: Inside, tmp_path: Path, arguments: list[str], steps: int
) -> None:
    status, out, _ = inside("synth", *arguments, "--json")
    found = json.loads(out)
    assert (status, found["verdict"], found["steps"], found["lower_bound"]) == (0, "ok", steps, steps)
    file = tmp_path / "made.json"
    file.write_text(json.dumps({"programs": found["programs"]}))
    assert inside("check", str(file))[0] == 0


def test_a_schedule_hangs_on_some_libraries_and_can_be_reordered(inside: Inside, tmp_path: Path) -> None:
    file = tmp_path / "b.csv"
    file.write_text("2F1,2SEND_F1,0F2,0SEND_F2,2RECV_B0,2B0\n3B0,3RECV_F1,3SEND_B0,3F1,1RECV_F2,1F2\n")
    status, out, _ = inside("schedules", str(file), "--style", "blocking", "--json")
    verdicts = {name: found["verdict"] for name, found in json.loads(out)["libraries"].items()}
    assert (status, verdicts["rendezvous"], verdicts["eager"]) == (1, "deadlock", "ok")
    status, out, _ = inside("synth", str(file), "--json")
    assert (status, json.loads(out)["verdict"]) == (0, "ok")


def test_a_schedule_that_is_none_is_one_line(inside: Inside, tmp_path: Path) -> None:
    file = tmp_path / "b.csv"
    for content in ("", "0F0\n1F0\n", "0SEND_F0\n", "what,ever\n"):
        file.write_text(content)
        for command in ("schedules", "synth"):
            status, out, err = inside(command, str(file))
            assert (status, out, len(err.splitlines())) == (2, "", 1), (content, command, out, err)


def test_sizes_beside_a_file_are_refused(inside: Inside, tmp_path: Path) -> None:
    file = tmp_path / "made.json"
    file.write_text(json.dumps({"programs": [[SEND], [RECV]]}))
    status, _, err = inside("check", str(file), "--ranks", "2")
    assert (status, err) == (2, f"error: --ranks is for a named program, and {str(file)!r} is none; leave it out\n")
