"""Stills: a figure as SVG text, the same bytes in every run, for displays without a kernel."""

from __future__ import annotations

import io
from typing import Any

from ..trace import Trace

__all__ = ["svg"]


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
