"""What a command costs before it does anything: the modules that it imports. And how output ends that nobody reads."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from model.cli import console_script as ringproof
from model.cli.commands import ABOUT, COMMANDS
from model.entry.command import overview
from model.entry.shadowing import check_packages
from tests.model.conftest import Inside, assert_one_line, write
from tests.patience import stretch

HEAVY = {"numba", "scipy", "matplotlib", "networkx", "torch", "tqdm", "pandas", "rustworkx", "tabulate", "wcwidth"}
HEAVY |= {"msgspec"}
"""What neither the help nor the verdict on a small program needs. numpy is for what computes."""

ROOT = Path(__file__).parents[3]

IMPORTED = """
import contextlib, io, json, sys
from model.cli.commands import main
output = io.StringIO()
with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
    main(json.loads(sys.argv[1]), prog="model")
assert output.getvalue()
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def imported(*words: str) -> set[str]:
    """The packages in memory once a command has answered."""
    command = [sys.executable, "-c", IMPORTED, json.dumps(words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=stretch(120), check=True, cwd=ROOT)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("words", [["--help"], ["names"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_help_and_names_import_nothing_that_computes(words: list[str]) -> None:
    found = imported(*words)
    assert not found & {*HEAVY, "numpy"}
    assert ("tyro" in found) == (words != ["--help"])


@pytest.mark.parametrize("library", ["rendezvous", "nccl"])
@pytest.mark.parametrize("second", ["recv(0); send(0)", "send(0); recv(0)"], ids=["finishes", "hangs"])
def test_a_small_program_is_checked_without_what_is_heavy(second: str, library: str, tmp_path: Path) -> None:
    file = tmp_path / "pair.txt"
    file.write_text(f"send(1); recv(1)\n{second}\n")
    modules = imported("check", str(file), "--semantics", library)
    assert "numpy" in modules
    assert not modules & HEAVY


def test_every_command_is_described_by_its_own_first_line() -> None:
    for name, command in COMMANDS.items():
        lines = (command.load().__doc__ or "").split("\n\n")[0].split("\n")
        assert command.about == " ".join(line.strip() for line in lines), name
    help = overview(COMMANDS, "model", ABOUT)
    assert all(f"\n  {name} " in help for name in COMMANDS)


def answer_into(output: int, *words: str, unbuffered: str = "") -> tuple[int, str]:
    """Exit status and standard error of a command of the model whose standard output is this file."""
    command = [sys.executable, "-m", "model", *words]
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(
        command, stdout=output, stderr=subprocess.PIPE, text=True, timeout=stretch(120), check=False, cwd=ROOT, env=env
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "words",
    [["--help"], ["names"], ["check", "--help"], ["check", "ring"], ["promela", "ring"], ["schedules", "--help"]],
    ids=" ".join,
)
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_output_that_nobody_reads_ends_quietly(words: list[str], unbuffered: str) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        assert answer_into(write, *words, unbuffered=unbuffered) == (141, "")
    finally:
        os.close(write)


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_output_that_cannot_be_written_is_one_line(unbuffered: str) -> None:
    with open("/dev/full", "w") as full:
        status, err = answer_into(full.fileno(), "check", "ring", unbuffered=unbuffered)
    assert status == 2
    assert_one_line(err, "No space left on device")


def test_former_options_are_read(inside: Inside, tmp_path: Path) -> None:
    for option in ("--trace", "--chrome"):
        file = tmp_path / f"{option}.json"
        assert inside("simulate", "ring", option, str(file))[0] == 0
        assert json.loads(file.read_text())["traceEvents"]
    assert "--trace" not in inside("simulate", "--help")[1]


# The console script.


def test_the_script_has_every_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONSAFEPATH", "1")  # the script sets it; other tests' children shall look in their folders
    assert ringproof.ringproof(["--help"]) == 0
    help = capsys.readouterr().out
    assert help.startswith("usage: ringproof COMMAND")
    assert all(f"\n  {name} " in help for name in (*COMMANDS, "generate", "chat", "serve", "bench", "experiments"))
    assert ringproof.ringproof(["prove"]) == 2
    assert_one_line(capsys.readouterr().err, "unknown command 'prove'", "check", "serve", "experiments")
    with pytest.raises(SystemExit):
        ringproof.ringproof(["check", "--help"])
    assert "usage: ringproof check " in capsys.readouterr().out


@pytest.fixture
def shadows(tmp_path: Path) -> Iterator[Path]:
    """A folder whose files and folders are called as our packages are."""
    (tmp_path / "model.py").write_text("print('mine'); x = 1\n")
    (tmp_path / "reference.py").write_text("print('mine')\n")
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "__init__.py").write_text("print('mine')\n")
    yield tmp_path


SCRIPT = "import sys; sys.path[0] = {root!r}; from model.cli.console_script import ringproof; sys.exit(ringproof())"
"""What a script does that pip has installed: its first folder is its own, and not the working folder."""


@pytest.mark.parametrize("words", [["check", "ring"], ["bench", "--help"], ["experiments", "--help"]], ids=" ".join)
def test_the_script_takes_no_package_of_the_working_folder(shadows: Path, words: list[str]) -> None:
    command = [sys.executable, "-c", SCRIPT.format(root=str(ROOT)), *words]
    done = subprocess.run(command, cwd=shadows, capture_output=True, text=True, timeout=stretch(120), check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "mine" not in done.stdout
    assert words[0] == "check" or "usage: ringproof " in done.stdout


def test_a_hidden_package_is_told_in_one_line(shadows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_packages("model", "reference", "experiments")
    monkeypatch.syspath_prepend(str(shadows))
    monkeypatch.delitem(sys.modules, "experiments", raising=False)
    with pytest.raises(ValueError, match="experiments hides the package experiments of ringproof; rename it, or run"):
        check_packages("experiments")


@pytest.mark.parametrize(
    ("package", "hidden"), [("reference", "model.py"), ("experiments", "model.py"), ("experiments", "reference.py")]
)
def test_another_command_line_says_what_hides_its_packages(package: str, hidden: str, tmp_path: Path) -> None:
    """As `python -m` does: the working folder comes before the folder of the packages."""
    (tmp_path / hidden).write_text("print('mine')\n")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": ""}
    command = [sys.executable, "-m", package, "--help"]
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=stretch(120), check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert_one_line(done.stderr, str(tmp_path / hidden), f"hides the package {hidden[:-3]} of ringproof", "`ringproof`")


# Programs from standard input, and the text form as the help shows it.


def check_stdin(content: bytes) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "model", "check", "-"]
    done = subprocess.run(command, input=content, capture_output=True, timeout=stretch(120), check=False, cwd=ROOT)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_a_program_is_read_from_standard_input() -> None:
    assert check_stdin(b"recv(1)\nsend(0)\n")[0] == 0
    assert check_stdin(b"0: recv(1); send(1)\n1: recv(0); send(0)\n")[0] == 1
    status, out, err = check_stdin(b"isend(1)")
    assert (status, out) == (2, "")
    assert err == "error: standard input: line 1: isend needs a request: isend(1, request=a)\n"


def test_the_example_of_the_help_is_a_program(inside: Inside, tmp_path: Path) -> None:
    _, help, _ = inside("check", "--help")
    lines = [line.strip() for line in help.splitlines() if line.strip()[:2] in ("0:", "1:")]
    assert len(lines) == 2
    for form in ("\n".join(lines), "\n".join(line[2:] for line in lines)):
        file = tmp_path / "example.txt"
        file.write_text(form)
        assert inside("check", str(file), "--semantics", "mpich")[0] == 0


def test_the_example_of_the_readme_is_a_program(inside: Inside, tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text().partition("Your own program is a text")[2]
    file = tmp_path / "program.txt"
    file.write_text(text.split("```")[1])
    for library, status in (("nccl", 0), ("rendezvous", 1)):
        assert inside("check", str(file), "--semantics", library)[0] == status


def test_the_default_engine_decides_what_the_explorer_cannot(inside: Inside, tmp_path: Path) -> None:
    file = tmp_path / "parity.txt"
    ranks = range(200)
    ops = ([f"send({(rank + 1) % 200})", f"recv({(rank - 1) % 200})"][:: -1 if rank % 2 else 1] for rank in ranks)
    file.write_text("\n".join(map("; ".join, ops)))
    for words in ([str(file)], ["ring", "--ranks", "200"], ["ring", "--ranks", "100000"]):
        status, out, err = inside("check", *words)
        assert (status, out[:3], err) == (0, "ok:", "")
    assert inside("check", "ring", "--ranks", "1200", "--semantics", "nccl")[0] == 0  # nccl takes no table


def test_an_option_of_the_explorer_chooses_it(inside: Inside) -> None:
    _, out, _ = inside("check", "ring", "--reduce", "rotation", "--json")
    assert json.loads(out)["engine"] == "explorer"
    status, _, err = inside("check", "ring", "--reduce", "rotation", "--engine", "graph")
    assert status == 2
    assert_one_line(err, "--reduce rotation is for --engine explorer, and --engine is graph; drop one")


def test_every_library_at_once(inside: Inside) -> None:
    status, out, _ = inside("check", "ring", "--ordering", "send-first", "--semantics", "all")
    rows = {line.split()[0]: line.split()[1] for line in out.splitlines()[2:]}
    assert (status, rows["rendezvous"], rows["eager"], rows["xccl"]) == (1, "deadlock", "ok", "livelock")
    status, out, _ = inside("check", "ring", "--semantics", "all", "--json")
    assert status == 0
    assert {item["verdict"] for item in json.loads(out)["libraries"].values()} == {"ok"}


def test_a_library_for_each_communicator(inside: Inside, tmp_path: Path) -> None:
    ranks = (
        [{"op": "send", "peer": 1 - rank, "comm": "A"}, {"op": "recv", "peer": 1 - rank, "comm": "A"}]
        for rank in (0, 1)
    )
    file = write(tmp_path / "comms.json", *ranks)
    assert inside("check", file, "--semantics", "A=eager,*=rendezvous")[0] == 0
    assert inside("check", file, "--semantics", "A=rendezvous")[0] == 1
    for wrong, words in (("B=eager", "'B'"), ("A=", "'A='"), ("A=eager,A=gloo", "'A=gloo'"), ("A=nickel", "'nickel'")):
        status, _, err = inside("check", file, "--semantics", wrong)
        assert status == 2
        assert_one_line(err, words)


def test_names_fits_the_terminal(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    assert max(map(len, inside("names")[1].splitlines())) <= 72


def test_the_space_names_the_orderings_that_deadlock(inside: Inside) -> None:
    for ranks in (2, 5):
        _, out, _ = inside("space", "--ranks", str(ranks))
        assert "those that deadlock: every rank sends first, and every rank receives first" in out
        hang = [
            letters
            for number in range(2**ranks)
            if inside(
                "check",
                "ring",
                "--ranks",
                str(ranks),
                "--ordering",
                letters := f"{number:0{ranks}b}".translate({48: "S", 49: "R"}),
            )[0]
        ]
        assert hang == ["S" * ranks, "R" * ranks]


@pytest.mark.parametrize("command", ["conform", "timeline", "schedules", "suite"])
def test_a_folder_or_no_file_is_told_what_was_expected(inside: Inside, command: str, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        status, out, err = inside(command, str(path))
        assert (status, out) == (2, "")
        assert_one_line(err, str(path), "; name ")
        assert "Errno" not in err
