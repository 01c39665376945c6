"""Stills: a figure as an image, the same bytes in every run, for displays without a kernel."""

from __future__ import annotations

import io
from base64 import b64encode
from html import escape
from typing import Any

from ..trace import Trace

__all__ = ["image", "still", "svg"]


def image(svg: str, alt: str) -> str:
    """SVG text as an HTML image with its alternative text.

    Notebooks show pictures so, since JupyterLab draws bare SVG without alternative text, and not at
    all in a notebook that it does not trust yet, such as one from a fresh clone.
    """
    data = b64encode(svg.encode()).decode()
    style = "max-width:100%;height:auto;background:#ffffff;border-radius:4px"
    return f'<img alt="{escape(alt)}" src="data:image/svg+xml;base64,{data}" style="{style}">'


def still(shown: Any, alt: str) -> dict[str, str]:
    """What a widget stores beside itself: the picture of a trace or figure, and the same in words."""
    return {"text/html": image(svg(shown), alt), "text/plain": alt}


def svg(shown: Any) -> str:
    """SVG text of a trace (its sequence diagram), or of a figure, ours or matplotlib's."""
    if isinstance(shown, Trace):
        from .figures import sequence

        shown = sequence(shown)
    if isinstance(shown, str):
        return shown
    if isinstance(getattr(shown, "svg", None), str):
        return str(shown.svg)
    import matplotlib

    out = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "eip"}):
        shown.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()
