"""A page of HTML that is complete in itself: light and dark, wide and narrow, on screen and on paper.

It may hold no script and load nothing, and the browser is told so: whatever a learner's text were to
smuggle in, it would not run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from ..page import GREEN, GREY, VERMILLION
from .untrusted import shown

__all__ = ["document", "table", "text", "tiles"]

ROW, COLUMN = ' scope="row"', ' scope="col"'
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = f"""
:root {{ color-scheme: light dark; --paper: #ffffff; --ink: #1f2937; --soft: #4b5563; --line: #d5d9df;
  --wash: #f3f5f8; --link: #005a8f; --good: #00694d; --bad: #a84300;
  --jp-content-font-color1: var(--ink); --jp-border-color2: var(--line); --jp-layout-color2: var(--wash);
  --jp-ui-font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }}
@media (prefers-color-scheme: dark) {{ :root {{ --paper: #14181e; --ink: #e5e7eb; --soft: #aab2bd;
  --line: #3b434e; --wash: #1e242c; --link: #7cc0ec; --good: #4fd0a5; --bad: #ff9a5c; }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0 auto; padding: 28px 20px 48px; max-width: 920px; background: var(--paper);
  color: var(--ink); font: 15px/1.5 var(--jp-ui-font-family); overflow-wrap: anywhere; }}
h1 {{ font-size: 27px; line-height: 1.2; margin: 0 0 4px; }}
h2 {{ font-size: 20px; margin: 40px 0 8px; padding-top: 14px; border-top: 1px solid var(--line); }}
h3 {{ font-size: 16px; margin: 26px 0 8px; }}
p {{ margin: 0 0 10px; }} a {{ color: var(--link); }}
.soft {{ color: var(--soft); }} .good {{ color: var(--good); }} .bad {{ color: var(--bad); }}
.number, th.number {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; margin: 6px 0 14px; }}
th, td {{ text-align: left; vertical-align: top; padding: 6px 14px 6px 0;
  border-bottom: 1px solid var(--line); overflow-wrap: break-word; }}
td .name, th .name {{ overflow-wrap: anywhere; }}
th:last-child, td:last-child {{ padding-right: 0; }}
thead th, thead th.number {{ white-space: normal; }}
thead th {{ border-bottom-width: 2px; font-size: 13px; color: var(--soft); vertical-align: bottom; }}
tbody th {{ font-weight: 400; }}
tfoot th, tfoot td {{ border-bottom: 0; font-weight: 600; }}
.tiles {{ display: flex; flex-wrap: wrap; gap: 12px; margin: 18px 0 6px; padding: 0; list-style: none; }}
.tiles li {{ flex: 1 1 130px; background: var(--wash); border-radius: 8px; padding: 10px 14px; }}
.tiles b {{ display: block; font-size: 24px; line-height: 1.25; }}
.meter {{ display: block; height: 10px; margin: 12px 0 4px; border: 1px solid {GREY}; border-radius: 5px;
  overflow: hidden; }}
.meter span {{ display: block; height: 100%; background: {GREEN}; }}
figure {{ margin: 14px 0; overflow-x: auto; }} article {{ margin: 0 0 16px; }}
figure img {{ display: block; max-width: none !important; width: 100%; min-width: 660px; height: auto; }}
.bar {{ display: block; width: 140px; }} .bar span {{ display: block; height: 12px; margin-top: 5px;
  border-radius: 2px; background: {VERMILLION}; }}
.points {{ display: inline-block; min-width: 5.2em; }}
.strip {{ font: 14px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; letter-spacing: 3px;
  white-space: nowrap; }}
details > summary {{ cursor: pointer; padding: 4px 0; }}
ul {{ padding-left: 20px; margin: 4px 0 12px; }} dd {{ overflow-wrap: anywhere; }}
@media (max-width: 640px) {{ body {{ padding: 18px 12px 32px; }}
  dl {{ grid-template-columns: 1fr !important; gap: 2px !important; }} dd {{ margin-bottom: 8px !important; }}
  th, td {{ padding-right: 10px; }} .wide, tr > .wide {{ display: none; }} }}
@media print {{ :root {{ color-scheme: light; --paper: #ffffff; --ink: #000000; --soft: #333333; }}
  body {{ max-width: none; padding: 0; font-size: 12px; }} figure, tr {{ break-inside: avoid; }} }}
"""


def document(title: str, body: str) -> str:
    """The whole page. `title` is plain text, `body` is HTML."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="robots" content="noindex">\n'
        f"<title>{text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        "</body>\n</html>\n"
    )


def text(words: str) -> str:
    """Anybody's plain text as HTML."""
    return escape(shown(words))


def tiles(facts: Iterable[tuple[str, str]]) -> str:
    """Numbers that stand out: each the number and what it counts, in plain text."""
    items = "".join(f"<li><b>{text(number)}</b>{text(words)}</li>" for number, words in facts)
    return f'<ul class="tiles">{items}</ul>'


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers: Iterable[int] = (),
    foot: Sequence[str] = (),
) -> str:
    """A table. `heads` are plain text, cells are HTML; `numbers` are the columns of numbers.

    The first cell of each row names the row.
    """
    right = set(numbers)

    def cell(tag: str, column: int, html: str, scope: str = "") -> str:
        number = ' class="number"' if column in right else ""
        return f"<{tag}{scope}{number}>{html}</{tag}>"

    def row(cells: Sequence[str]) -> str:
        first, *others = cells
        rest = "".join(cell("td", column, html) for column, html in enumerate(others, start=1))
        return f"<tr>{cell('th', 0, first, ROW)}{rest}</tr>"

    head = "".join(cell("th", column, text(name), COLUMN) for column, name in enumerate(heads))
    foot_html = f"<tfoot>{row(foot)}</tfoot>" if foot else ""
    body = "\n".join(map(row, rows))
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody>{foot_html}'
        "</table></div>"
    )
