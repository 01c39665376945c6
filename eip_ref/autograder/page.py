"""Small pieces of HTML that read well in JupyterLab, light and dark, and on a code host without styles.

All styles are inline, since a code host removes style sheets; colours come from JupyterLab's
variables where there are any, and every piece keeps its meaning when its style is taken away.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "ORANGE",
    "VERMILLION",
    "bar",
    "card",
    "code",
    "prose",
    "sections",
]

BLUE, GREEN, ORANGE, VERMILLION, GREY = "#0072B2", "#009E73", "#E69F00", "#D55E00", "#6b7280"

_LINE = "var(--jp-border-color2, #c8ccd1)"
_FONT = "font-family:var(--jp-ui-font-family, system-ui, sans-serif);font-size:14px;line-height:1.5"
_CODE = "font-family:var(--jp-code-font-family, monospace);font-size:13px;background:transparent;padding:0"
_WRAP = "white-space:pre-wrap;word-break:normal;overflow-wrap:anywhere"
_PART = "display:block;float:none;width:auto;margin:0"  # JupyterLab floats the parts of lists
TEXT = "margin:0 0 6px 0"
TABLE = "border-collapse:collapse;margin:0 0 10px 0;font-size:14px"
HEAD = f"text-align:left;padding:4px 24px 4px 0;border-bottom:2px solid {_LINE};font-weight:600"
CELL = f"text-align:left;padding:6px 24px 6px 0;border-bottom:1px solid {_LINE};font-weight:400"


def card(title: str, colour: str, body: str, note: str = "") -> str:
    """A framed part with a title, a coloured edge and, on the right of the title, a note."""
    aside = f'<span style="font-weight:400;white-space:nowrap">{prose(note)}</span>' if note else ""
    return (
        f'<div style="{_FONT};color:var(--jp-content-font-color1, inherit);max-width:860px;'
        f"box-sizing:border-box;margin:6px 0;padding:12px 18px;border:1px solid {_LINE};"
        f"border-left:6px solid {colour};"
        # JupyterLab adds a link to every <h4>, so the heading is one by its role.
        'border-radius:6px"><div role="heading" aria-level="4" style="margin:0 0 10px 0;font-size:16px;'
        'font-weight:600;display:flex;flex-wrap:wrap;justify-content:space-between;gap:0 24px">'
        f"<span>{prose(title)}</span> {aside}</div>{body}</div>"
    )


def sections(parts: Iterable[tuple[str, str]]) -> str:
    """Named parts under each other, each a heading and its HTML."""
    rows = "".join(
        f'<dt style="{_PART};font-weight:600">{escape(name)}</dt><dd style="{_PART}">{body}</dd>'
        for name, body in parts
    )
    return (
        '<dl style="display:grid;grid-template-columns:minmax(7em, max-content) 1fr;'
        f'gap:8px 18px;margin:0 0 4px 0">{rows}</dl>'
    )


def prose(text: str) -> str:
    """Plain text as HTML: `code` between backticks, and lines that begin with four spaces as code."""
    parts = []
    for block in re.split(r"((?:^|\n)(?: {4}.*(?:\n|$))+)", text):
        if block.strip() and block.lstrip("\n").startswith("    "):
            code = "\n".join(line[4:] for line in block.strip("\n").split("\n"))
            parts.append(f'<pre style="{_CODE};{_WRAP};margin:4px 0">{escape(code)}</pre>')
        else:
            parts.append(_inline(block).replace("\n", "<br>"))
    return "".join(parts)


def _inline(text: str) -> str:
    code = rf'<code style="{_CODE}">\1</code>'
    return re.sub(r"`([^`\n]+)`", code, escape(text))


def code(text: str) -> str:
    """Program text as a block."""
    back = "background:var(--jp-layout-color2, rgba(128, 128, 128, 0.1))"
    style = f"{_CODE};{back};padding:10px 14px;margin:8px 0 0 0;border-radius:4px;overflow-x:auto"
    return f'<pre style="{style}">{escape(text)}</pre>'


def bar(part: int, whole: int) -> str:
    """A small bar that shows how much of the whole is done. Says nothing that the text beside it does not."""
    share = 100 * part // whole if whole else 0
    return (
        f'<span aria-hidden="true" style="display:inline-block;width:90px;height:8px;margin-left:10px;'
        f'border:1px solid {GREY};border-radius:4px;vertical-align:middle">'
        f'<span style="display:block;width:{share}%;height:8px;background:{GREEN};border-radius:3px">'
        "</span></span>"
    )
