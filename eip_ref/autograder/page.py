"""HTML from templates: whatever a value says, it is text there and never markup.

Pieces in a notebook have inline styles, since a code host removes style sheets; colours come from
JupyterLab's variables where there are any, and every piece keeps its meaning when its style is taken
away.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["BLUE", "GREEN", "GREY", "ORANGE", "VERMILLION", "environment", "prose", "render"]

BLUE, GREEN, ORANGE, VERMILLION, GREY = "#0072B2", "#009E73", "#E69F00", "#D55E00", "#6b7280"

_LINE = "var(--jp-border-color2, #c8ccd1)"
_CODE = "font-family:var(--jp-code-font-family, monospace);font-size:13px;background:transparent;padding:0"
_WRAP = "white-space:pre-wrap;word-break:normal;overflow-wrap:anywhere"
_BACK = "background:var(--jp-layout-color2, rgba(128, 128, 128, 0.1))"
_STYLE = {
    "BLUE": BLUE,
    "GREEN": GREEN,
    "GREY": GREY,
    "VERMILLION": VERMILLION,
    "card": "font-family:var(--jp-ui-font-family, system-ui, sans-serif);font-size:14px;line-height:1.5;"
    "color:var(--jp-content-font-color1, inherit);max-width:860px;box-sizing:border-box;margin:6px 0;"
    f"padding:12px 18px;border:1px solid {_LINE}",
    "title": "margin:0 0 10px 0;font-size:16px;font-weight:600;display:flex;flex-wrap:wrap;"
    "justify-content:space-between;gap:0 24px",
    "part": "display:block;float:none;width:auto;margin:0",  # JupyterLab floats the parts of lists
    "text": "margin:0 0 6px 0",
    "table": "border-collapse:collapse;margin:0 0 10px 0;font-size:14px",
    "head": f"text-align:left;padding:4px 24px 4px 0;border-bottom:2px solid {_LINE};font-weight:600",
    "cell": f"text-align:left;padding:6px 24px 6px 0;border-bottom:1px solid {_LINE};font-weight:400",
    "code_block": f"{_CODE};{_BACK};padding:10px 14px;margin:8px 0 0 0;border-radius:4px;overflow-x:auto",
}


@lru_cache
def environment() -> Environment:
    """The templates of this package. Loaded late: the `eip` command runs where only anyio is installed."""
    from jinja2 import Environment, PackageLoader

    made = Environment(loader=PackageLoader("eip_ref.autograder"), autoescape=True)
    made.globals["style"] = _STYLE
    made.filters["prose"] = prose
    return made


def render(template: str, **values: Any) -> str:
    """The template with these values."""
    return environment().get_template(template).render(**values)


def prose(text: str) -> str:
    """Plain text as HTML: `code` between backticks, and lines that begin with four spaces as code."""
    from markupsafe import Markup, escape

    def inline(block: str) -> Markup:
        parts = re.split(r"`([^`\n]+)`", block)
        code = Markup(f'<code style="{_CODE}">{{}}</code>')
        return Markup("").join(code.format(part) if n % 2 else escape(part) for n, part in enumerate(parts))

    made = []
    for block in re.split(r"((?:^|\n)(?: {4}.*(?:\n|$))+)", text):
        if block.strip() and block.lstrip("\n").startswith("    "):
            code = "\n".join(line[4:] for line in block.strip("\n").split("\n"))
            made.append(Markup(f'<pre style="{_CODE};{_WRAP};margin:4px 0">{{}}</pre>').format(code))
        else:
            made.append(inline(block).replace("\n", Markup("<br>")))
    return Markup("").join(made)
