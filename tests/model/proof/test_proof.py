"""The bridge between the Coq proof and the executable model, and the gate that keeps the proof free of axioms.

`model/proof/verdicts.txt` is what Coq computed with the decision procedure that it proved right. Here the
Python model says the same of the same programs; `make -C model/proof` holds the file against Coq.
"""

import fcntl
import importlib
import itertools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from model import check
from model.cli.commands import main
from model.pipelines.serving import CONTROL, DATA, unroll
from model.program.checked import Program
from model.program.ops import Compute, Isend, Operation, Recv, Send, Wait
from model.rings.order_space import makespans
from model.rings.orderings import NAMED as ORDERINGS
from model.rings.orderings import ordering
from model.rings.ring_program import ring
from model.semantics.libraries import NAMED, semantics
from model.semantics.parameters import SemanticsByComm
from model.verdict.arguments import of_its_communicators
from tests.patience import stretch

PROOF = Path(__file__).resolve().parents[3] / "model" / "proof"
INSTALL_COQ = "apt-get install coq"
LIBRARIES: dict[str, SemanticsByComm] = {
    "blocking": {CONTROL: NAMED["gloo"], DATA: NAMED["rendezvous"]},
    "posting": {CONTROL: NAMED["gloo"], DATA: NAMED["gloo"]},
}


def lines(kind: str) -> list[list[str]]:
    """The lines of one kind, as words without the kind; an empty presence pattern is an empty word."""
    found = [line.split(" ")[1:] for line in (PROOF / "verdicts.txt").read_text().splitlines() if line.startswith(kind)]
    assert found, f"verdicts.txt has no line of kind {kind}"
    return found


def deadlocks(program: Program, library: SemanticsByComm, engine: str = "schedule") -> str:
    verdict = check(program, of_its_communicators(program, library), engine=engine).verdict  # type: ignore[arg-type]
    assert verdict in ("ok", "deadlock")
    return "1" if verdict == "deadlock" else "0"


def vectors(ranks: int) -> Iterator[str]:
    return ("".join(letters) for letters in itertools.product("SR", repeat=ranks))


def test_every_ring_that_is_wanted_is_there() -> None:
    wanted = set(itertools.product(("rendezvous", "bounded(1)", "eager"), range(2, 9), range(1, 4)))
    assert {(name, int(ranks), int(rounds)) for name, ranks, rounds, _ in lines("ring")} == wanted


@pytest.mark.parametrize("ranks", range(2, 9))
def test_verdicts_of_all_ring_orderings(ranks: int) -> None:
    """Coq and Python agree on all 2^P orderings, three libraries, 1 to 3 rounds."""
    for name, of_ranks, rounds, bits in lines("ring"):
        if int(of_ranks) == ranks:
            said = [
                deadlocks(ring(ranks=ranks, rounds=int(rounds), ordering=ordering(o, ranks)), {"*": semantics(name)})
                for o in vectors(ranks)
            ]
            assert "".join(said) == bits, (name, ranks, rounds)


@pytest.mark.parametrize("ranks", range(2, 9))
def test_verdicts_of_the_command_line(ranks: int, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m model check` says the same under rendezvous: status 1 and "deadlock" exactly where Coq has a 1."""
    rows = [line for line in lines("ring") if line[:2] == ["rendezvous", str(ranks)]]
    assert len(rows) == 3
    for name, _, rounds, bits in rows:
        given = ["check", "ring", "--ranks", str(ranks), "--rounds", rounds, "--semantics", name]
        for letters, bit in zip(vectors(ranks), bits, strict=True):
            words = [*given, "--ordering", letters, "--engine", "schedule", "--json"]
            assert main(words, prog="model") == int(bit), (letters, rounds)
            assert json.loads(capsys.readouterr().out)["verdict"] == ("deadlock" if bit == "1" else "ok")


@pytest.mark.parametrize("ranks", range(2, 5))
def test_verdicts_of_the_full_state_space(ranks: int) -> None:
    """The same with every schedule explored, so that the agreement does not rest on statement 1."""
    for name, of_ranks, rounds, bits in lines("ring"):
        if int(of_ranks) == ranks:
            programs = (ring(ranks=ranks, rounds=int(rounds), ordering=ordering(o, ranks)) for o in vectors(ranks))
            said = [deadlocks(program, {"*": semantics(name)}, "explorer") for program in programs]
            assert "".join(said) == bits, (name, ranks, rounds)


def test_parity_is_the_same_ordering() -> None:
    for ranks, letters in lines("parity"):
        assert ORDERINGS["parity"].vector(int(ranks)) == letters


def test_steps_of_one_round_under_all_orderings() -> None:
    """Coq's greedy parallel run takes what `model.rings.order_space` says, ordering by ordering."""
    for ranks, *steps in lines("greedy"):
        bits = [sum((letter == "S") << rank for rank, letter in enumerate(o)) for o in vectors(int(ranks))]
        assert makespans(np.array(bits, dtype=np.uint32), int(ranks)).tolist() == [int(word) for word in steps]


def test_steps_of_many_rounds_of_parity() -> None:
    """Statement 6: 2k for even P, 2k + ceil(2k / (P - 1)) for odd P."""
    for ranks, *steps in lines("optimal"):
        extra = 0 if int(ranks) % 2 == 0 else int(ranks) - 1
        for rounds, word in enumerate(steps, start=1):
            assert int(word) == 2 * rounds + (-(-2 * rounds // extra) if extra else 0)


def test_verdicts_of_the_serving_loop() -> None:
    """All orderings, depths 0 to 2 and presence patterns of four iterations for P = 2 and 3."""
    said = set()
    for name, ranks, depth, iterations, letters, bits in lines("serving"):
        policy = ordering(letters, int(ranks))
        patterns = itertools.product((True, False), repeat=int(iterations))
        programs = (
            unroll(ranks=int(ranks), depth=int(depth), ordering=policy, present=present) for present in patterns
        )
        assert "".join(deadlocks(program, LIBRARIES[name]) for program in programs) == bits, (
            name,
            ranks,
            depth,
            letters,
        )
        said |= set(bits)
    assert said == {"0", "1"}


def words(ops: Sequence[Operation], rank: int, ranks: int) -> Iterator[str]:
    """Operations as Coq prints them. A wait of the loop names the tag of a send to the next rank."""
    for op in ops:
        match op:
            case Send() | Isend():
                yield f"S{op.peer}.{op.tag}"
            case Recv():
                yield f"R{op.peer}.{op.tag}"
            case Wait():
                for request in op.requests:
                    yield f"W{(rank + 1) % ranks}.{request}"
            case Compute():
                pass
            case _:
                raise AssertionError(f"the loop has no {op}")


def test_the_loop_of_the_proof_is_the_loop_that_runs() -> None:
    """Operation by operation: what Coq proves things about is what `model.pipelines.serving` unrolls."""
    seen = 0
    for ranks, depth, letters, bits, *text in lines("program"):
        present = [bit == "1" for bit in bits]
        policy = ordering(letters, int(ranks))
        program = unroll(ranks=int(ranks), depth=int(depth), ordering=policy, present=present)
        assert " ".join(text).split(" | ") == [
            " ".join(words(ops, rank, int(ranks))) for rank, ops in enumerate(program)
        ], (ranks, depth, letters, bits)
        seen += 1
    assert seen >= 100


# The gate


def test_every_theorem_is_checked_and_told() -> None:
    """Main.v, Assumptions.v and the table of README.md name the same theorems."""
    main = re.findall(r"^Theorem (\w+)", (PROOF / "Main.v").read_text(), re.MULTILINE)
    assumed = re.findall(r"^Print Assumptions (\w+)\.", (PROOF / "Assumptions.v").read_text(), re.MULTILINE)
    rows = re.findall(r"^\| [^|]+ \| (`[^|]+`) \|", (PROOF / "README.md").read_text(), re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert len(main) >= 15
    assert assumed == main
    assert set(main) <= told


def test_the_paper_states_what_the_table_of_the_proof_says() -> None:
    """The statements of the paper are numbered 1 to 12; each names its theorems; the table has their Python names."""
    paper = (PROOF.parents[1] / "paper" / "main.tex").read_text()
    statements = re.findall(r"\\begin\{statement\}(.*?)\\end\{statement\}", paper, re.DOTALL)
    assert len(statements) == 12
    stated = {name: {str(n)} for n, text in enumerate(statements, 1) for name in re.findall(r"\\coq\{(\w+)\}", text)}
    assert set(stated) == set(re.findall(r"^Theorem (\w+)", (PROOF / "Main.v").read_text(), re.MULTILINE))
    rows = re.findall(
        r"^\| ([\d, ]+) \| ([^|]+) \| `([\w.]+)`[^|]* \|", (PROOF / "README.md").read_text(), re.MULTILINE
    )
    table = {}
    for numbers, names, python in rows:
        table |= {name: set(numbers.split(", ")) for name in re.findall(r"`(\w+)`", names)}
        module, _, attribute = python.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), python
    assert table.keys() == stated.keys()
    assert all(stated[name] <= table[name] for name in stated)


def gate(
    folder: Path, *, theorem: str, verdict: str = "ok", path: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the Makefile of the proof on a development of one theorem."""
    folder.mkdir(exist_ok=True)
    shutil.copy(PROOF / "Makefile", folder)
    (folder / "_CoqProject").write_text("-R . Ringproof\nMain.v\nBridge.v\n")
    (folder / "Main.v").write_text(theorem)
    (folder / "Assumptions.v").write_text("From Ringproof Require Import Main.\nPrint Assumptions main.\n")
    (folder / "Bridge.v").write_text('Goal True. idtac "> ok <". Abort.\n')
    (folder / "verdicts.txt").write_text(f"{verdict}\n")
    env = {**os.environ, "PATH": path} if path is not None else None
    make = shutil.which("make")
    assert make is not None, "the tests themselves are started by make"
    return subprocess.run([make, "-C", folder], capture_output=True, text=True, env=env, timeout=stretch(240))


def test_gate_passes_a_proof(tmp_path: Path, require: Callable[[str, str], str]) -> None:
    require("coqc", INSTALL_COQ)
    done = gate(tmp_path, theorem="Theorem main : 1 + 1 = 2.\nProof. reflexivity. Qed.\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Closed under the global context" in done.stdout
    assert re.search(r"^\* Axioms: <none>", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("theorem", "verdict", "complaint"),
    [
        ("Theorem main : 1 = 2.\nProof. Admitted.\n", "ok", "assume something"),
        ("Axiom main : 1 = 2.\n", "ok", "assume something"),
        (
            "From Coq Require Import Classical_Prop.\nTheorem main : forall P, P \\/ ~ P. exact classic. Qed.\n",
            "ok",
            "rests on an axiom",
        ),
        (
            "Unset Guard Checking.\nFixpoint f (n : nat) : False := f n.\nTheorem main : 1 = 2. destruct (f 0). Qed.\n",
            "ok",
            "rests on an axiom",
        ),
        ("Theorem main : 1 = 1.\nProof. reflexivity. Qed.\n", "stale", "not what Coq computes"),
    ],
)
def test_gate_stops(
    tmp_path: Path, require: Callable[[str, str], str], theorem: str, verdict: str, complaint: str
) -> None:
    require("coqc", INSTALL_COQ)
    done = gate(tmp_path, theorem=theorem, verdict=verdict)
    assert done.returncode == 2
    assert complaint in done.stderr


def test_without_coq_one_line_says_what_to_install(tmp_path: Path) -> None:
    """The shell that make starts is found by its full path; with an empty PATH there is no coqc."""
    done = gate(tmp_path / "proof", theorem="", path=str(tmp_path))
    assert done.returncode == 2
    assert "apt-get install coq" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.timeout(1200)
def test_verdicts_are_what_coq_computes(require: Callable[[str, str], str]) -> None:
    """Builds what the bridge needs (half a minute from nothing) and computes the verdicts anew."""
    require("coqc", INSTALL_COQ)
    make = require("make", "apt-get install make")
    with (PROOF / "Makefile").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # another run of the tests may be about to build the same files
        done = subprocess.run([make, "-C", PROOF, "verdicts"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
