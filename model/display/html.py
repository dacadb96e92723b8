"""Pieces of HTML for a notebook. Every text that is given is escaped; what is returned is not to be escaped again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from html import escape

COLOURS = {"ok": "#00694f", "lost": "#8a5a00", "deadlock": "#b03a00", "livelock": "#b03a00"}
"""Of a verdict; dark enough for white letters on them."""

_CELL = "text-align:left;padding:2px 12px 2px 0;vertical-align:top"
_ADDED = "background:#d5f0e3;color:#004d36;text-decoration:none"
_REMOVED = "background:#fbe0d3;color:#7a2600"


def page(parts: Iterable[str]) -> str:
    """Parts under each other."""
    return f'<div class="ringproof" style="line-height:1.4">{"".join(parts)}</div>'


def badge(verdict: str, text: str) -> str:
    """A verdict on its colour, and what there is to say beside it."""
    colour = COLOURS.get(verdict, "#444444")
    style = f"background:{colour};color:#ffffff;padding:1px 8px;border-radius:3px"
    return f'<p style="margin:4px 0"><b style="{style}">{escape(verdict)}</b> {escape(text)}</p>'


def paragraph(text: str) -> str:
    return f'<p style="margin:4px 0">{escape(text)}</p>'


def heading(text: str) -> str:
    return f'<p style="margin:10px 0 2px 0"><b>{escape(text)}</b></p>'


def code(text: str) -> str:
    """Text whose line ends count."""
    return f'<pre style="margin:4px 0">{escape(text)}</pre>'


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; values are written as `str` writes them."""
    head = "".join(f'<th style="{_CELL}">{escape(name)}</th>' for name in headers)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f'<table style="border-collapse:collapse"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _cell(value: object) -> str:
    return f'<td style="{_CELL}">{escape(str(value))}</td>'


def beside(*parts: str) -> str:
    """Parts side by side where there is room."""
    cells = "".join(f'<div style="max-width:100%;overflow-x:auto">{part}</div>' for part in parts)
    return f'<div style="display:flex;flex-wrap:wrap;gap:24px;align-items:flex-start">{cells}</div>'


def difference(before: Sequence[str], after: Sequence[str], separator: str = "; ") -> str:
    """Two sequences as one: what was taken out is struck, what came in is underlaid."""
    parts: list[str] = []
    for what, first, last, start, stop in SequenceMatcher(a=before, b=after, autojunk=False).get_opcodes():
        if what == "equal":
            parts += map(escape, before[first:last])
            continue
        parts += (f'<del style="{_REMOVED}">{escape(item)}</del>' for item in before[first:last])
        parts += (f'<ins style="{_ADDED}">{escape(item)}</ins>' for item in after[start:stop])
    return escape(separator).join(parts)


def lines(texts: Iterable[str]) -> str:
    """Lines in letters of one width; the lines are HTML already."""
    return f'<pre style="margin:4px 0;white-space:pre-wrap">{"<br>".join(texts)}</pre>'
