"""`import model`: what it offers, that every example holds, and what is imported only when it is used."""

import doctest
import subprocess
import sys

import pytest

import model
from tests.patience import stretch

HEAVY = ("numba", "scipy", "matplotlib", "networkx", "torch", "numpy", "pandas", "tabulate", "rustworkx", "tyro")
FUNCTIONS = [name for name in model.__all__ if name != "Result"]


def imported(code: str) -> set[str]:
    """The top-level modules that a new interpreter has after some code."""
    script = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=stretch(240), check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_importing_it_imports_nothing_heavy() -> None:
    assert not imported("import model; dir(model)") & set(HEAVY)


def test_what_asks_only_for_names_and_texts_needs_nothing_heavy() -> None:
    code = "import model; model.read_program('0: send(1)\\n1: recv(0)'); model.libraries(); model.vectors(3)"
    assert not imported(code) & set(HEAVY)


def test_no_answer_imports_torch_and_only_drawings_matplotlib() -> None:
    code = (
        "import model; ring = model.ring('SRSR'); model.check(ring); model.period(ring); model.simulate(ring)\n"
        "str(model.timeline(ring)); model.synthesise('ring', 4); model.space(4); model.serving(2); model.diagnose(ring)"
    )
    assert not imported(code) & {"torch", "matplotlib", "pandas"}


def test_it_offers_about_twenty_names_and_no_other() -> None:
    assert 15 <= len(model.__all__) <= 25
    assert list(model.__all__) == sorted(model.__all__)
    assert set(model.__all__) <= set(dir(model))
    with pytest.raises(AttributeError, match="check"):
        model.chek  # noqa: B018


def test_the_tour_names_every_name() -> None:
    assert model.__doc__ is not None
    assert [name for name in FUNCTIONS if name not in model.__doc__.replace("\n", " ").split()] == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_name_has_an_example_that_holds(name: str) -> None:
    (found,) = doctest.DocTestFinder(recurse=False).find(getattr(model, name), name, globs={})
    assert found.examples, f"{name} has no example"
    outcome = doctest.DocTestRunner(verbose=False).run(found)
    assert outcome.failed == 0
    assert outcome.attempted >= 2
