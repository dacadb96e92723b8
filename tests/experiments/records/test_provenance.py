"""A stamp says which code, arguments, machine and versions, and whether the checkout was changed."""

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from experiments.records import provenance
from experiments.records.paths import COMMITTED, ROOT
from experiments.records.provenance import COMMIT, stamp


@pytest.fixture
def checkout(tmp_path: Path, require: Callable[[str, str], str]) -> Path:
    """A git checkout with one file and one result."""
    git = require("git", "apt-get install git")
    result = tmp_path / COMMITTED.relative_to(ROOT) / "serving" / "cpu.json"
    result.parent.mkdir(parents=True)
    result.write_text("{}\n")
    (tmp_path / "code.py").write_text("x = 1\n")
    author = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    for arguments in (("init", "-q"), ("add", "."), (*author, "commit", "-q", "-m", "first")):
        subprocess.run([git, "-C", str(tmp_path), *arguments], check=True, capture_output=True)
    return tmp_path


def test_a_clean_checkout_is_named(checkout: Path) -> None:
    found = stamp(command=["reproduce"], root=checkout)
    assert found.commit is not None and len(found.commit) == 40
    assert (found.dirty, found.command) == (False, ("reproduce",))


@pytest.mark.parametrize("out", [["--out", "/tmp/there"], ["--out=/tmp/there"]])
def test_where_results_go_is_nobodys_business(tmp_path: Path, out: list[str]) -> None:
    found = stamp(command=["serving", *out, "--repeats", "3"], root=tmp_path)
    assert found.command == ("serving", "--repeats", "3")


@pytest.mark.parametrize("changed", ["code.py", "new.py"])
def test_changed_and_new_code_makes_it_dirty(checkout: Path, changed: str) -> None:
    (checkout / changed).write_text("x = 2\n")
    assert stamp(command=[], root=checkout).dirty is True


def test_results_do_not_make_it_dirty(checkout: Path) -> None:
    results = checkout / COMMITTED.relative_to(ROOT)
    (results / "serving" / "cpu.json").write_text("[]\n")
    (results / "new.json").write_text("{}\n")
    assert stamp(command=[], root=checkout).dirty is False


def test_outside_of_git_it_says_that_it_does_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    found = stamp(command=[], root=tmp_path)
    assert (found.commit, found.dirty) == (None, None)


def test_a_copy_may_be_told_its_commit_and_does_not_vouch_for_it(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(COMMIT, "c0ffee")
    found = stamp(command=[], root=checkout)
    assert (found.commit, found.dirty) == ("c0ffee", None)


def test_without_git_it_says_that_it_does_not_know(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    found = stamp(command=[], root=checkout)
    assert (found.commit, found.dirty) == (None, None)


def test_the_time_is_in_utc(tmp_path: Path) -> None:
    eastern = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=timezone(timedelta(hours=5)))
    assert stamp(command=[], now=lambda: eastern, root=tmp_path).time_utc == "2026-01-01T22:04:05+00:00"


def test_the_stamp_of_a_result_is_complete(tmp_path: Path) -> None:
    found = stamp(command=["orderspace"], now=lambda: datetime(2026, 1, 2, tzinfo=UTC), root=tmp_path)
    stored = json.loads(json.dumps(found.to_json(arguments={"ranks": (2, 3)}, seed=7, wall_s=1.2345)))
    keys = ("commit", "dirty", "time_utc", "command", "hardware", "versions", "arguments", "seed", "wall_s")
    assert tuple(stored) == keys
    assert (stored["arguments"], stored["seed"], stored["wall_s"]) == ({"ranks": [2, 3]}, 7, 1.2)
    assert stored["hardware"]["cores"] >= 1 and stored["hardware"]["memory_gib"] > 0
    assert all(stored["hardware"][key] for key in ("cpu", "architecture", "system"))


def test_a_package_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "PACKAGES", ("numpy", "ringproof-no-such-package"))
    found = provenance.versions()
    assert found["ringproof-no-such-package"] is None
    assert found["numpy"] and found["python"]
