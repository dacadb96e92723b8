"""The README's generated parts are filled from results, and whatever is out of date or out of place is noticed."""

import re
import shlex
from pathlib import Path

import pytest

from experiments.publish import claims, readme, report
from experiments.publish.readme import README, regenerate, stale, write
from experiments.records.paths import COMMITTED, ResultPaths
from experiments.records.results import ResultStore
from model.cli.commands import COMMANDS, parsed

TEXT = """# Title
<!-- begin claims -->
<!-- end claims -->
Between, <!-- number GlooCells -->7<!-- / --> of <!-- number MatrixCells --><!-- / --> cells.
<!-- begin spaces -->
old
<!-- end spaces -->
<!-- begin summary -->
<!-- end summary -->
The end.
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "README.md"
    path.write_text(TEXT)
    return path


def test_parts_and_numbers_are_filled_and_the_rest_is_left_alone(store: ResultStore) -> None:
    text = regenerate(TEXT, store)
    assert f"<!-- begin claims -->\n{claims.table(store).markdown()}\n<!-- end claims -->\n" in text
    assert f"<!-- begin spaces -->\n{report.spaces(store).markdown()}\n<!-- end spaces -->\n" in text
    assert report.comparison(store).markdown() in text and report.speeds(store).markdown() in text
    assert "Test & Co. 100%, 8.0 GiB, torch 2.13.0." in text
    line = "Between, <!-- number GlooCells -->32<!-- / --> of <!-- number MatrixCells -->120<!-- / --> cells.\n"
    assert line in text
    assert "old" not in text
    assert text.startswith("# Title\n<!-- begin claims") and text.endswith("<!-- end summary -->\nThe end.\n")


def test_filling_again_changes_nothing(store: ResultStore) -> None:
    once = regenerate(TEXT, store)
    assert regenerate(once, store) == once


def test_stale_until_written_and_again_once_results_change(
    file: Path, store: ResultStore, contrary: ResultStore
) -> None:
    assert stale(store, path=file)
    assert write(store, path=file) == file
    assert not stale(store, path=file)
    assert stale(contrary, path=file)


@pytest.mark.parametrize(("old", "new"), [("-->32<", "-->33<"), ("| C3 |", "| C9 |"), ("The end.", "The end")])
def test_only_generated_text_can_be_stale(old: str, new: str, file: Path, store: ResultStore) -> None:
    write(store, path=file)
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))
    assert stale(store, path=file) is (old != "The end.")


@pytest.mark.parametrize("name", ["demo-deadlock", "demo-cure"])
def test_a_demo_is_what_the_command_prints(name: str, store: ResultStore) -> None:
    text = regenerate(f"<!-- begin {name} -->\n<!-- end {name} -->\n", store)
    assert text.startswith(f"<!-- begin {name} -->\n```\n") and text.endswith(f"\n```\n<!-- end {name} -->\n")
    assert ("deadlock" in text) is (name == "demo-deadlock")


def test_a_demo_that_fails_is_no_demo(monkeypatch: pytest.MonkeyPatch, store: ResultStore) -> None:
    monkeypatch.setattr(readme, "DEMOS", {"demo-cure": "check no-such-program"})
    with pytest.raises(ValueError, match="`python -m model check no-such-program` failed: "):
        regenerate("<!-- begin demo-cure -->\n<!-- end demo-cure -->", store)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- begin clams -->\n<!-- end clams -->", "unknown part 'clams' in the README; choose one of claims, "),
        ("<!-- number Cells -->1<!-- / -->", "unknown number 'Cells' in the README; choose one of Blocking"),
        ("<!-- begin claims -->\ntext", "the marker <!-- begin claims --> of the README has no partner"),
        ("text\n<!-- end claims -->", "the marker <!-- end claims --> of"),
        ("<!-- begin claims --><!-- end claims -->", "the marker <!-- begin claims --> of"),
        (
            "<!-- begin claims -->\n<!-- begin spaces -->\n<!-- end spaces -->\n<!-- end claims -->",
            "the marker <!-- begin claims --> of",
        ),
        ("<!-- number GlooCells -->7", "the marker <!-- number GlooCells --> of"),
        (
            "<!-- number GlooCells -->7 and <!-- number MpichCells -->8<!-- / -->",
            "the marker <!-- number GlooCells --> of",
        ),
        ("7<!-- / -->", "the marker <!-- / --> of"),
    ],
)
def test_a_marker_out_of_place_is_refused(text: str, message: str, store: ResultStore, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)):
        write(store, path=path)
    assert path.read_text() == text


def test_without_results_or_without_a_readme_it_says_so(
    file: Path, store: ResultStore, empty: ResultStore, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="there are no results in"):
        write(empty, path=file)
    with pytest.raises(ValueError, match=r"no\.md cannot be read: No such file"):
        stale(store, path=tmp_path / "no.md")
    assert file.read_text() == TEXT


def test_the_readme_has_every_part_that_people_look_for() -> None:
    found = set(re.findall(r"<!-- begin ([\w-]+) -->", README.read_text()))
    assert found >= {"claims", "summary", *readme.DEMOS}


@pytest.mark.parametrize("path", readme.FILES, ids=lambda path: path.parent.name)
def test_the_readme_says_what_the_committed_results_say(path: Path) -> None:
    assert not stale(ResultStore(ResultPaths(root=COMMITTED)), path=path), "run `python -m experiments readme`"


def test_every_command_of_the_model_is_one_that_it_takes() -> None:
    """Each is read with its arguments, and not run."""
    section = README.read_text().partition("## What the model answers")[2].partition("\n### ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and line.endswith("` |")]
    commands = [command for row in rows for command in re.findall(r"`([^`]+)`", row.rsplit(" | ", 1)[1])]
    assert {command.split()[0] for command in commands} == set(COMMANDS)
    for command in commands:
        parsed(shlex.split(command))


def test_the_parts_of_the_readme_are_filled() -> None:
    parts = re.findall(r"<!-- begin ([\w-]+) -->\n(.*?)<!-- end ", README.read_text(), re.DOTALL)
    assert {name for name, _ in parts} >= {"hangs", "schedules", "cross-checks", "speed"}
    assert all(content.strip() for _, content in parts), [name for name, content in parts if not content.strip()]


def test_the_figures_of_the_readme_are_committed() -> None:
    shown = re.findall(r"!\[[^\]]*\]\((experiments/[^)]+)\)", README.read_text())
    assert shown and all((README.parent / path).exists() for path in shown)
