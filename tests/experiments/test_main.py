"""`python -m experiments`: what it prints where, its exit statuses, and where it writes."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments import commands
from experiments.__main__ import ABOUT, COMMANDS, main
from experiments.catalogue import CATALOGUE, REPRODUCED, Experiment
from experiments.lab.errors import ProbesFailed
from experiments.publish import readme
from experiments.records.paths import ROOT
from experiments.records.results import ResultStore
from experiments.serving import multi_gpu
from model.entry.command import overview
from tests.experiments import samples

Bodies = dict[str, dict[str, Any]]
Command = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """`command("claims", ...)` in this process: exit status, standard output, the lines of standard error."""

    def run(*arguments: str) -> tuple[int, str, list[str]]:
        monkeypatch.setattr(sys, "argv", ["experiments", *arguments])
        try:
            status = main()
        except SystemExit as ended:
            status = int(str(ended.code))
        out, err = capsys.readouterr()
        return status, out, err.splitlines()

    before = signal.getsignal(signal.SIGTERM)
    yield run
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch, bodies: Bodies) -> Bodies:
    """Every experiment gives its sample at once; a test may change what they give."""
    load = Experiment.load
    monkeypatch.setattr(Experiment, "load", lambda one: replace(load(one), run=lambda _: bodies[one.name]))
    return bodies


def test_the_command_line_lists_every_command() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "experiments", "--help"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == overview(COMMANDS, "python -m experiments", ABOUT) + "\n"
    assert [name for name in COMMANDS if f"\n  {name} " not in ran.stdout] == []
    assert set(CATALOGUE) < set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_says_of_itself(name: str) -> None:
    said = (COMMANDS[name].load().__doc__ or "").split("\n\n")[0]
    assert COMMANDS[name].about == " ".join(said.split())


SLOW = ("torch", "numpy", "numba", "scipy", "matplotlib", "networkx", "pandas", "psutil", "tqdm")
"""Not imported to show help. Of the command's own packages only what defines its options is."""


@pytest.mark.parametrize("words", [(), *((name,) for name in COMMANDS)], ids=lambda words: "".join(words) or "all")
def test_help_imports_nothing_slow(words: tuple[str, ...]) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['experiments', *{words!r}, '--help']\n"
        "from experiments.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit as ended:\n    assert not ended.code\n"
        f"print(sorted(set({SLOW!r}) & set(sys.modules)), file=sys.stderr)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (ran.returncode, ran.stderr) == (0, "[]\n")
    assert "usage" in ran.stdout


@pytest.mark.parametrize(
    "arguments", [[], ["no-such-experiment"], ["orderspace", "--no-such"], ["orderspace", "--ranks", "two"]]
)
def test_what_is_no_command_is_bad_usage(arguments: list[str], command: Command) -> None:
    status, out, err = command(*arguments)
    assert (status, out) == (2, "") and err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reproduce", "--smoke", "--record"], "--record writes the committed results; give it without --smoke and"),
        (["orderspace", "--smoke", "--record"], "--record writes the committed results; give it without --smoke and"),
        (["serving", "--record", "--out", "x"], "--record writes the committed results; give it without --smoke and"),
        (["orderspace", "--smoke", "--ranks", "2"], "--smoke has sizes of its own; give it without other arguments"),
        (["orderspace", "--ranks", "1", "--out", "OUT"], "ranks is 1; give 2 to "),
        (["patterns", "--orderings", "up", "--out", "OUT"], "unknown ordering 'up'; choose one of send-first, "),
        (["gloo-matrix", "--repeats", "0", "--out", "OUT"], "repeats is 0; give 1 or more"),
        (["serving", "--requests", "0", "--out", "OUT"], "requests is 0; give 1 or more"),
        (["figures", "--results", "OUT"], "; run `python -m experiments reproduce`"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    arguments: list[str], message: str, command: Command, tmp_path: Path
) -> None:
    status, out, err = command(*(str(tmp_path / "out") if word == "OUT" else word for word in arguments))
    assert (status, out) == (2, "")
    (line,) = err
    assert line.startswith("error: ") and message in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ProbesFailed("10 probes neither finished nor hung"), 1, "error: 10 probes neither finished nor hung"),
        (OSError(28, "No space left on device"), 2, "error: [Errno 28] No space left on device"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_a_run_that_is_cut_short_says_why(
    error: BaseException, status: int, line: str, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(commands, "record", fail)
    assert command("orderspace", "--out", str(tmp_path)) == (status, "", [line])


def test_a_defect_of_the_program_is_not_hidden(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("invariant")

    monkeypatch.setattr(commands, "record", fail)
    with pytest.raises(AssertionError, match="invariant"):
        command("orderspace", "--out", str(tmp_path))


@pytest.mark.parametrize(("arguments", "ranks"), [(["--smoke"], list(range(2, 11))), (["--ranks", "2", "5"], [2, 5])])
def test_one_experiment_writes_its_result(
    arguments: list[str], ranks: list[int], command: Command, tmp_path: Path
) -> None:
    status, out, _ = command("orderspace", *arguments, "--out", str(tmp_path))
    path = tmp_path / "orderspace" / "cpu.json"
    assert (status, out) == (0, f"written: {path}\n")
    stored = json.loads(path.read_text())
    assert [space["ranks"] for space in stored["spaces"]] == ranks
    assert stored["provenance"]["command"] == ["orderspace", *arguments]
    assert stored["provenance"]["arguments"] == {"ranks": ranks}


@pytest.mark.usefixtures("instant")
@pytest.mark.parametrize("smoke", [[], ["--smoke"]])
def test_reproduce_ends_with_the_table_and_what_was_written(smoke: list[str], command: Command, tmp_path: Path) -> None:
    status, out, err = command("reproduce", *smoke, "--out", str(tmp_path))
    assert (status, err) == (0, [f"[{number}/6] {name}" for number, name in enumerate(REPRODUCED, start=1)])
    assert out.index("The model against the measurements") < out.index("Serving, by the number of pipeline stages")
    assert "MPICH's eager limit: 8112 B in the model, 8112 B measured: agree" in out
    files = [str(path) for path in tmp_path.rglob("*.*") if path.is_file()]
    assert len(files) == 6 + 3
    assert all(f"  {file}\n" in out for file in files)


def test_reproduce_says_what_disagrees_and_exits_1(command: Command, instant: Bodies, tmp_path: Path) -> None:
    next(cell for cell in instant["gloo-matrix"]["cells"] if cell["ordering"] == "parity")["samples"] = [
        {"verdict": "hang"}
    ]
    status, out, err = command("reproduce", "--out", str(tmp_path))
    assert status == 1
    assert err[6:] == [
        "gloo: parity, P=2, 1 B, send: predicted ok, measured hang",
        "claim C4 is said to be confirmed, which the results do not show",
    ]
    assert "The model against the measurements" in out and (tmp_path / "figures" / "hang_matrix.png").exists()


def test_claims_on_good_on_contradicting_and_on_no_results(
    command: Command, store: ResultStore, contrary: ResultStore, empty: ResultStore
) -> None:
    status, out, err = command("claims", "--results", str(store.paths.root))
    assert (status, err) == (0, [])
    assert "C4  confirmed: Parity ordering is deadlock-free for every PP size\n" in out
    status, out, err = command("claims", "--results", str(contrary.paths.root))
    assert (status, err) == (1, ["claim C4 is said to be confirmed, which the results do not show"])
    assert "C4  CONTRADICTED: " in out
    status, out, err = command("claims", "--results", str(empty.paths.root))
    assert (status, out) == (2, "") and "results are part of the repository's checkout" in err[0] and len(err) == 1
    empty.paths.root.mkdir()
    status, out, err = command("claims", "--results", str(empty.paths.root))
    assert (status, err) == (0, [])
    assert "C4  no results: " in out and "C1  not yet measured: " in out


def test_figures_are_drawn_beside_the_results(command: Command, store: ResultStore) -> None:
    status, out, err = command("figures", "--results", str(store.paths.root))
    assert (status, err) == (0, [])
    assert out.splitlines() == [
        f"written: {store.paths.figure(name)}" for name in ("hang_matrix", "makespans", "serving")
    ]


def test_a_stale_readme_is_said_and_is_brought_up_to_date(
    command: Command, store: ResultStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "README.md"
    path.write_text("<!-- begin spaces -->\n<!-- end spaces -->\n")
    stale, write = readme.stale, readme.write
    monkeypatch.setattr(readme, "stale", lambda _, path: stale(store, path=path))
    monkeypatch.setattr(readme, "write", lambda _, path: write(store, path=path))
    monkeypatch.setattr(readme, "FILES", (path,))
    assert command("readme", "--check") == (1, "", [f"{path} is stale; run `python -m experiments readme`"])
    assert command("readme") == (0, f"written: {path}\n", [])
    assert command("readme", "--check") == (0, "", [])


def test_the_paper_s_parts_are_generated(
    command: Command, store: ResultStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from experiments.publish import paper

    generate = paper.generate
    monkeypatch.setattr(paper, "generate", lambda _: generate(store, folder=tmp_path))
    monkeypatch.setattr(paper, "build", lambda: tmp_path / "main.pdf")
    status, out, _ = command("paper", "--generate-only")
    names = [Path(line.removeprefix("written: ")).name for line in out.splitlines()]
    assert (status, names) == (0, ["numbers.tex", "table.tex", "figure.pdf"])
    assert command("paper")[1].endswith(f"written: {tmp_path / 'main.pdf'}\n")


def test_samples_are_of_every_experiment() -> None:
    assert set(samples.bodies()) == {*REPRODUCED, multi_gpu.NAME}
