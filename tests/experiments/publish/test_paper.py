"""What the paper takes from results: all of it is there, and LaTeX can read it."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.publish import paper
from experiments.publish.numbers import generated_numbers
from experiments.records.paths import PAPER
from experiments.records.results import ResultStore
from experiments.serving import pipeline
from tests.experiments import samples


def test_every_number_is_a_macro_with_its_characters_escaped(store: ResultStore, tmp_path: Path) -> None:
    numbers, table, figure = paper.generate(store, folder=tmp_path / "generated")
    macros = dict(re.findall(r"^\\newcommand\{\\([A-Za-z]+)\}\{(.*)\}$", numbers.read_text(), flags=re.MULTILINE))
    assert macros.keys() == generated_numbers(store).keys()
    assert len(numbers.read_text().splitlines()) == len(macros)
    assert macros["ServingCpu"] == r"Test \& Co. 100\%"
    assert (macros["GlooCells"], macros["MatrixMismatches"]) == ("32", "0")
    assert r"4 & 16 & 2 & 2 & 4 & 2 & 4 \\" in re.sub(" +", " ", table.read_text())
    assert r"\begin{table}" in table.read_text() and r"\label{tab:space}" in table.read_text()
    assert figure.read_bytes().startswith(b"%PDF")


def test_the_same_results_give_the_same_files(store: ResultStore, contrary: ResultStore, tmp_path: Path) -> None:
    first, again, other = (
        [path.read_bytes() for path in paper.generate(one, folder=tmp_path / str(number))]
        for number, one in enumerate((store, store, contrary))
    )
    assert first == again
    assert first[0] != other[0] and first[2] != other[2]


def test_the_paper_uses_only_numbers_that_are_generated(bodies: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    bodies[pipeline.NAME]["speed"] += [samples.speed(3), samples.speed(4)]
    numbers = generated_numbers(samples.write(tmp_path / "four", bodies))
    used = set(re.findall(r"\\([A-Z][A-Za-z]+)\{\}|\\([A-Z][A-Za-z]+)\$", (PAPER / "main.tex").read_text()))
    names = {name for pair in used for name in pair if name}
    assert len(names) > 5 and names <= numbers.keys()


def test_without_results_nothing_is_left_half_done(empty: ResultStore, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there are no results in"):
        paper.generate(empty, folder=tmp_path / "generated")
    assert list((tmp_path / "generated").iterdir()) == []


def test_without_latex_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match=r"latexmk or pdflatex is not installed; on Debian: apt-get install latexmk"):
        paper.build(folder=tmp_path)


@pytest.fixture
def latex(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a latexmk that does what the given shell lines say in the place of the real one."""

    def install(script: str) -> None:
        for name in ("latexmk", "pdflatex"):
            (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    return install


def test_latex_that_stops_is_quoted(latex: Callable[[str], None], tmp_path: Path) -> None:
    latex("echo 'This is pdfTeX'; echo '! Undefined control sequence.'; exit 12")
    with pytest.raises(ValueError, match=r"^LaTeX stopped: ! Undefined control sequence\.; look at paper/main\.log$"):
        paper.build(folder=tmp_path)
    latex("exit 12")
    with pytest.raises(ValueError, match=r"LaTeX stopped: see paper/main\.log"):
        paper.build(folder=tmp_path)


def test_the_build_is_the_pdf_of_main_tex(latex: Callable[[str], None], tmp_path: Path) -> None:
    latex('for file in "$@"; do :; done; touch "${file%.tex}.pdf"')
    assert paper.build(folder=tmp_path) == tmp_path / "main.pdf"
    assert (tmp_path / "main.pdf").exists()
