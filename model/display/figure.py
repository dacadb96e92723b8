"""Figures that a notebook shows, made without pyplot: no backend, no global state, nothing to close."""

from __future__ import annotations

from io import BytesIO, StringIO

from matplotlib import rc_context
from matplotlib.figure import Figure

DPI = 110
"""Of a figure in a notebook, in dots per inch."""


class Picture(Figure):
    """A figure that shows itself in Jupyter; whoever asks IPython for a figure's own formats gets those instead."""

    def _repr_png_(self) -> bytes:
        content = BytesIO()
        self.savefig(content, format="png", dpi=DPI)
        return content.getvalue()

    def svg(self) -> str:
        """The `<svg>` element, for a page of HTML; text stays text, so that it can be searched and is small."""
        content = StringIO()
        with rc_context({"svg.fonttype": "none"}):
            self.savefig(content, format="svg", metadata={"Date": None})
        text = content.getvalue()
        return text[text.index("<svg") :]  # without the declarations that only a file of its own may have
