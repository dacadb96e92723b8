"""What the paper takes from results (numbers, a table, a figure), and its build."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from experiments.publish import figures, report
from experiments.publish.numbers import generated_numbers
from experiments.records.paths import PAPER
from experiments.records.results import ResultStore
from experiments.records.tables import escaped

PACKAGES = (
    "latexmk texlive-latex-base texlive-latex-recommended texlive-latex-extra texlive-fonts-recommended "
    "texlive-pictures"
)


def generate(store: ResultStore, *, folder: Path = PAPER / "generated") -> list[Path]:
    """Write what `main.tex` reads: a macro for each number, the table of orderings, the hang matrix."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers, table = folder / "numbers.tex", folder / "table.tex"
    macros = [rf"\newcommand{{\{name}}}{{{escaped(value)}}}" for name, value in generated_numbers(store).items()]
    numbers.write_text("\n".join(macros) + "\n")
    table.write_text(
        "\\begin{table}[t]\n\\centering\\small\\setlength{\\tabcolsep}{3pt}\n"
        f"\\resizebox{{\\columnwidth}}{{!}}{{%\n{report.spaces(store).latex()}}}\n"
        "\\caption{All $2^P$ orderings of one ring step under rendezvous: how many deadlock, and the least and the\n"
        "most steps of the others; and the steps of two named ones.}\n\\label{tab:space}\n\\end{table}\n"
    )
    return [numbers, table, figures.save(figures.hang_matrix(store, columns=1), folder / "figure.pdf")]


def build(*, folder: Path = PAPER) -> Path:
    """Run latexmk on `main.tex`. Raises ValueError where LaTeX is missing or stops at an error."""
    if shutil.which("latexmk") is None or shutil.which("pdflatex") is None:
        raise ValueError(f"latexmk or pdflatex is not installed; on Debian: apt-get install {PACKAGES}")
    command = ["latexmk", "-pdf", "-interaction=nonstopmode", "-halt-on-error", "-quiet", "main.tex"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        errors = [line for line in ran.stdout.splitlines() if line.startswith("!")]
        raise ValueError(f"LaTeX stopped: {' '.join(errors) or 'see paper/main.log'}; look at paper/main.log")
    return folder / "main.pdf"
