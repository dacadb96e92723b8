"""One table, three ways to print it; none loses a cell or breaks on a character."""

import re

from hypothesis import given
from hypothesis import strategies as st

from experiments.records.tables import Table, escaped

TABLE = Table(header=("name", "count"), rows=[("a | b", 7), ("50% & more_or_less", 1234)])


def test_text_has_aligned_columns() -> None:
    assert TABLE.text().splitlines() == [
        "name                  count",
        "------------------  -------",
        "a | b                     7",
        "50% & more_or_less     1234",
    ]


def test_markdown_escapes_its_bars() -> None:
    assert TABLE.markdown().splitlines() == [
        "| name | count |",
        "| --- | --: |",
        r"| a \| b | 7 |",
        "| 50% & more_or_less | 1234 |",
    ]


def test_latex_escapes_what_it_would_read() -> None:
    lines = TABLE.latex().splitlines()
    assert lines[0] == r"\begin{tabular}{lr}" and lines[-1] == r"\end{tabular}"
    cells = [re.split(r" *(?<!\\)& *", line.strip()) for line in lines]
    assert ["a | b", r"7 \\"] in cells
    assert [r"50\% \& more\_or\_less", r"1234 \\"] in cells


def test_a_table_without_rows_is_its_header() -> None:
    bare = Table(header=("a", "b"), rows=[])
    assert bare.text().splitlines() == ["a    b", "---  ---"]
    assert bare.markdown().splitlines() == ["| a | b |", "| --- | --- |"]


words = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1)


@given(rows=st.lists(st.tuples(words, st.integers(), words)))
def test_no_cell_is_lost(rows: list[tuple[str, int, str]]) -> None:
    table = Table(header=("a", "b", "c"), rows=rows)
    for line, row in zip(table.text().split("\n")[2:], rows, strict=True):
        assert line.split() == [str(cell) for cell in row]
    for line, row in zip(table.markdown().split("\n")[2:], rows, strict=True):
        cells = re.split(r"(?<!\\)\|", line)[1:-1]
        assert [cell.strip().replace(r"\|", "|") for cell in cells] == [str(cell) for cell in row]
    assert table.latex().count(r" \\" + "\n") == len(rows) + 1


@given(words)
def test_escaped_text_has_nothing_that_latex_reads(word: str) -> None:
    back = escaped(word)
    for command, character in (("textbackslash", "\\"), ("textasciitilde", "~"), ("textasciicircum", "^")):
        back = back.replace(rf"\{command}{{}}", f"\0{ord(character)};")
    back = re.sub(r"\\([&%$#_{}])", lambda match: f"\0{ord(match[1])};", back)
    assert not set(back) & set("\\&%$#_{}~^")
    assert re.sub(r"\0(\d+);", lambda match: chr(int(match[1])), back) == word
